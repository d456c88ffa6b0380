#include "launcher/start/find_torch.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLibrary = "libtorch_cpu.so";

/// A folder that holds LibTorch, and why it was looked at.
struct Candidate {
  fs::path torch, library_folder;
  std::string because;
};

bool is_there(const fs::path& path) {
  std::error_code ignored;  // what may not be looked at is not there for us
  return fs::exists(path, ignored);
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(':', begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// "2.11.0" of "2.11.0+cu130".
std::string without_local_part(const std::string& version) {
  return version.substr(0, version.find('+'));
}

/// The version of a torch folder, from the wheel's version.py or the file of the zip archives;
/// empty where neither is there.
std::string version_of(const fs::path& torch) {
  std::ifstream python(torch / "version.py");
  for (std::string line; std::getline(python, line);) {
    if (line.rfind("__version__", 0) != 0) continue;
    const size_t begin = line.find_first_of("'\""), end = line.find_last_of("'\"");
    if (begin < end) return without_local_part(line.substr(begin + 1, end - begin - 1));
  }
  std::string version;
  std::ifstream(torch / "build-version") >> version;
  return without_local_part(version);
}

class Search {
 public:
  /// `folder` is a torch folder, its lib, or one that holds torch.
  bool add(const fs::path& folder, const std::string& because) {
    for (const fs::path& torch : {folder, folder / "torch"}) {
      if (!is_there(torch / "lib" / kLibrary)) continue;
      found_.push_back({torch, torch / "lib", because});
      return true;
    }
    if (!is_there(folder / kLibrary)) return false;
    found_.push_back({folder.parent_path(), folder, because});
    return true;
  }

  /// The site-packages of the Python at `prefix`; those of `version` ("python3.11") first.
  void add_python(const fs::path& prefix, const std::string& version, const std::string& because) {
    for (const char* lib : {"lib", "lib64", "local/lib"}) {
      std::vector<fs::path> versions;
      std::error_code ignored;
      for (const auto& entry : fs::directory_iterator(prefix / lib, ignored))
        if (entry.path().filename().string().rfind("python3", 0) == 0)
          versions.push_back(entry.path());
      std::sort(versions.rbegin(), versions.rend());
      std::stable_partition(versions.begin(), versions.end(),
                            [&](const fs::path& folder) { return folder.filename() == version; });
      for (const fs::path& folder : versions)
        for (const char* packages : {"site-packages", "dist-packages"})
          add(folder / packages, because);
    }
    add_base_python(prefix, because);
  }

  /// The Python of the first python3 in PATH: that of a virtual environment is a link in its bin.
  void add_python_in(const std::string& path, const std::string& home) {
    for (const std::string& bin : split(path)) {
      const fs::path python = fs::path(bin) / "python3";
      if (access(python.c_str(), X_OK) != 0) continue;
      std::error_code ignored;
      const fs::path resolved = fs::canonical(python, ignored);
      const std::string version = resolved.filename().string(), because = python.string();
      const fs::path prefix = fs::path(bin).parent_path();
      if (is_there(prefix / "pyvenv.cfg")) return add_python(prefix, version, because);
      if (!home.empty()) add(fs::path(home) / ".local/lib" / version / "site-packages", because);
      add_python(prefix, version, because);
      const fs::path real_prefix = resolved.parent_path().parent_path();
      if (real_prefix != prefix) add_python(real_prefix, version, because);
      return;
    }
  }

  const std::vector<Candidate>& found() const { return found_; }

 private:
  /// An environment may let its Python's own packages through.
  void add_base_python(const fs::path& prefix, const std::string& because) {
    std::ifstream settings(prefix / "pyvenv.cfg");
    std::string home;
    bool sees_base = false;
    for (std::string line; std::getline(settings, line);) {
      const size_t equals = line.find(" = ");
      if (equals == std::string::npos) continue;
      const std::string key = line.substr(0, equals), value = line.substr(equals + 3);
      if (key == "home") home = value;
      if (key == "include-system-site-packages") sees_base = value == "true";
    }
    if (sees_base && !home.empty()) add_python(fs::path(home).parent_path(), "", because);
  }

  std::vector<Candidate> found_;
};

std::string ways(const std::string& wanted, const std::string& beside) {
  return "`pip install torch==" + wanted +
         "` in the active Python, or set LORA_DIST_TORCH to its torch folder, or put that folder "
         "to " +
         beside + "/torch";
}

TorchFolder folder_of(const Candidate& candidate) {
  std::string libraries = candidate.library_folder.string();
  const fs::path nvidia = candidate.torch.parent_path() / "nvidia";
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(nvidia, ignored))
    if (is_there(entry.path() / "lib")) libraries += ":" + (entry.path() / "lib").string();
  return {candidate.torch.string(), libraries};
}

}  // namespace

std::optional<TorchFolder> find_torch(const TorchPlaces& places, const std::string& wanted_version,
                                      std::string& error) {
  Search search;
  if (!places.asked.empty()) {
    std::error_code ignored;
    if (!search.add(fs::absolute(places.asked, ignored), "LORA_DIST_TORCH")) {
      error = "LORA_DIST_TORCH: no " + std::string(kLibrary) + " in '" + places.asked +
              "' or in lib below it, expected the torch folder of torch " + wanted_version +
              "; set it to that, or leave it out";
      return std::nullopt;
    }
  } else {
    search.add(fs::path(places.beside) / "torch", "beside the program");
    for (const std::string& folder : split(places.python_path)) search.add(folder, "PYTHONPATH");
    if (!places.virtual_env.empty()) search.add_python(places.virtual_env, "", "VIRTUAL_ENV");
    if (!places.conda_prefix.empty()) search.add_python(places.conda_prefix, "", "CONDA_PREFIX");
    search.add_python_in(places.path, places.home);
  }
  for (const Candidate& candidate : search.found()) {
    const std::string version = version_of(candidate.torch);
    if (version.empty() || version == wanted_version) {
      error.clear();
      return folder_of(candidate);
    }
    if (error.empty())
      error = candidate.torch.string() + " (" + candidate.because + "): torch " + version +
              ", expected " + wanted_version + "; " + ways(wanted_version, places.beside);
  }
  if (error.empty())
    error = "LibTorch: not found beside the program or in the active Python, expected torch " +
            wanted_version + "; " + ways(wanted_version, places.beside);
  return std::nullopt;
}

}  // namespace lora_dist
