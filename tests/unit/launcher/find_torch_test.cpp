// Where an installed program finds LibTorch: folders of empty files stand for torch.
#include "launcher/start/find_torch.hpp"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/environments/library_path.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

class FindTorch : public testing::Test {
 protected:
  /// A torch folder of `version`; none: without a file that says it.
  std::string make_torch(const std::string& folder, const std::string& version = "2.11.0+cu130") {
    folder_.write(folder + "/lib/libtorch_cpu.so", "");
    if (!version.empty())
      folder_.write(folder + "/version.py", "debug = False\n__version__ = '" + version + "'\n");
    return folder_.file(folder);
  }
  void make_program(const std::string& name) {
    folder_.write(name, "");
    std::filesystem::permissions(folder_.file(name), std::filesystem::perms::owner_all);
  }

  std::string found() {
    error_.clear();
    const auto torch = find_torch(places_, "2.11.0", error_);
    return torch ? torch->folder : "";
  }

  TempFolder folder_;
  TorchPlaces places_{.beside = folder_.file("prefix/lib/lora-dist")};
  std::string error_;
};

TEST_F(FindTorch, TakesTheOneBesideTheProgramBeforeThatOfThePython) {
  places_.virtual_env = folder_.file("venv");
  const std::string in_venv = make_torch("venv/lib/python3.11/site-packages/torch");
  EXPECT_EQ(found(), in_venv);
  const std::string beside = make_torch("prefix/lib/lora-dist/torch");
  EXPECT_EQ(found(), beside);
}

TEST_F(FindTorch, TakesATorchFolderItsLibOrSitePackagesWhereItIsTold) {
  const std::string torch = make_torch("site/torch");
  make_torch("prefix/lib/lora-dist/torch");
  for (const char* asked : {"site", "site/torch", "site/torch/lib"}) {
    places_.asked = folder_.file(asked);
    EXPECT_EQ(found(), torch) << asked;
  }
}

TEST_F(FindTorch, RefusesAFolderItIsToldThatHasNone) {
  make_torch("prefix/lib/lora-dist/torch");
  places_.asked = "/nowhere";
  EXPECT_EQ(found(), "");
  EXPECT_THAT(error_, testing::HasSubstr("LORA_DIST_TORCH: no libtorch_cpu.so in '/nowhere'"));
}

TEST_F(FindTorch, NamesAnotherVersionAndTheOneItWants) {
  places_.conda_prefix = folder_.file("conda");
  make_torch("conda/lib/python3.10/site-packages/torch", "2.9.1+cpu");
  EXPECT_EQ(found(), "");
  EXPECT_THAT(error_,
              testing::AllOf(testing::HasSubstr("(CONDA_PREFIX): torch 2.9.1, expected 2.11.0"),
                             testing::HasSubstr("LORA_DIST_TORCH")));
}

TEST_F(FindTorch, GoesOnBehindAnotherVersion) {
  places_.python_path = folder_.file("old") + ":" + folder_.file("none");
  make_torch("old/torch", "2.9.1");
  places_.virtual_env = folder_.file("venv");
  const std::string torch = make_torch("venv/lib64/python3.12/site-packages/torch");
  EXPECT_EQ(found(), torch);
  EXPECT_EQ(error_, "");
}

TEST_F(FindTorch, SaysTheWaysWhereThereIsNone) {
  EXPECT_EQ(found(), "");
  EXPECT_THAT(error_, testing::AllOf(testing::HasSubstr("pip install torch==2.11.0"),
                                     testing::HasSubstr("LORA_DIST_TORCH"),
                                     testing::HasSubstr(places_.beside + "/torch")));
}

TEST_F(FindTorch, LooksIntoTheFirstPythonOfThePath) {
  make_program("usr/bin/python3.11");
  std::filesystem::create_symlink("python3.11", folder_.file("usr/bin/python3"));
  places_.path = folder_.file("nothing") + ":" + folder_.file("usr/bin");
  make_torch("usr/local/lib/python3.9/dist-packages/torch", "2.8.0");
  const std::string debian = make_torch("usr/local/lib/python3.11/dist-packages/torch");
  EXPECT_EQ(found(), debian);
  places_.home = folder_.file("home");
  const std::string of_user = make_torch("home/.local/lib/python3.11/site-packages/torch");
  EXPECT_EQ(found(), of_user);
}

TEST_F(FindTorch, SeesTheBasePackagesOnlyWhereAnEnvironmentLetsThemThrough) {
  make_program("usr/bin/python3.11");
  make_torch("usr/lib/python3.11/site-packages/torch");
  std::filesystem::create_directories(folder_.file("venv/bin"));
  std::filesystem::create_symlink(folder_.file("usr/bin/python3.11"),
                                  folder_.file("venv/bin/python3"));
  places_.path = folder_.file("venv/bin");
  const auto settings = [&](const char* sees_base) {
    return "home = " + folder_.file("usr/bin") + "\ninclude-system-site-packages = " + sees_base +
           "\n";
  };
  folder_.write("venv/pyvenv.cfg", settings("false"));
  EXPECT_EQ(found(), "");
  folder_.write("venv/pyvenv.cfg", settings("true"));
  EXPECT_EQ(found(), folder_.file("usr/lib/python3.11/site-packages/torch"));
}

TEST_F(FindTorch, GivesTheLoaderTheLibrariesThatCameWithIt) {
  places_.python_path = folder_.file("site");
  make_torch("site/torch", /*version=*/"");
  folder_.write("site/nvidia/cu13/lib/libcudart.so.13", "");
  const auto torch = find_torch(places_, "2.11.0", error_);
  ASSERT_TRUE(torch) << error_;
  EXPECT_EQ(torch->library_path,
            folder_.file("site/torch/lib") + ":" + folder_.file("site/nvidia/cu13/lib"));
}

TEST_F(FindTorch, StartsRanksBehindTheProgramThatFindsIt) {
  const std::string program = folder_.file("prefix/lib/lora-dist/lora-dist");
  EXPECT_EQ(program_to_start(program), program) << "no bin beside lib";
  make_program("prefix/bin/lora-dist");
  EXPECT_EQ(program_to_start(program), folder_.file("prefix/bin/lora-dist"));
  EXPECT_EQ(program_to_start("/somewhere/build/release/lora-dist"),
            "/somewhere/build/release/lora-dist");
}

}  // namespace
}  // namespace lora_dist
