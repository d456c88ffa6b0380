#include "data/io/files.hpp"

#include <unistd.h>

#include <atomic>
#include <barrier>
#include <cerrno>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/error_text.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

/// Fails one operation (counted from 0, among those of `operation` or of all) with an errno.
class FailingDisk {
 public:
  FailingDisk(int at, int error, std::string operation = {}) {
    set_disk_hook([this, at, error, operation](std::string_view name, const std::string&) {
      if (!operation.empty() && name != operation) return 0;
      return count_++ == at ? error : 0;
    });
  }
  ~FailingDisk() { set_disk_hook({}); }
  int count() const { return count_; }

 private:
  int count_ = 0;
};

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  return names;
}

TEST(Files, WriteAtomicallyReplacesTheContentAndLeavesNothingElse) {
  const TempFolder folder;
  const std::string path = folder.write("a.txt", "old and longer");
  write_file_atomically(path, "new");
  EXPECT_EQ(read_file(path), "new");
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a.txt"});
}

TEST(Files, AFailureAtAnyOperationLeavesTheOldContent) {
  for (int at = 0;; ++at) {
    const TempFolder folder;
    const std::string path = folder.write("a.txt", "old");
    std::string text;
    int operations = 0;
    {
      const FailingDisk disk(at, ENOSPC);
      text = error_text<StorageError>([&] { write_file_atomically(path, "new"); });
      operations = disk.count();
    }
    if (operations <= at) {
      EXPECT_EQ(text, "(no error)");
      EXPECT_GE(at, 5);  // open, write, fsync, close, rename, fsync of the folder
      break;
    }
    const std::string content = read_file(path);
    EXPECT_TRUE(content == "old" || content == "new") << at;
    EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a.txt"}) << at;
  }
}

TEST(Files, AFullDiskIsAStorageErrorThatNamesTheFileAndTheReason) {
  const TempFolder folder;
  const FailingDisk disk(0, ENOSPC, "write");
  const std::string path = folder.file("new");
  EXPECT_EQ(
      error_text<StorageError>([&] {
        NewFile file(path);
        file.write("text");
      }),
      path + ": cannot write (no space left on device); free space or choose another output_dir");
  EXPECT_FALSE(fs::exists(path));
}

TEST(Files, AfterAFailedFsyncANewFileIsWrittenOnce) {
  const TempFolder folder;
  {
    const FailingDisk disk(0, EIO, "fsync");
    write_file_atomically(folder.file("a"), "content");
  }
  EXPECT_EQ(read_file(folder.file("a")), "content");
  set_disk_hook(
      [](std::string_view name, const std::string&) { return name == "fsync" ? EIO : 0; });
  EXPECT_THROW(write_file_atomically(folder.file("b"), "content"), StorageError);
  set_disk_hook({});
  EXPECT_FALSE(fs::exists(folder.file("b")));
}

TEST(Files, HashesAreThoseOfSha256sum) {
  const TempFolder folder;
  // printf abc | sha256sum
  const std::string expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(file_sha256(folder.write("abc", "abc")), expected);
  NewFile file(folder.file("new"));
  file.write("ab");
  file.write("c");
  EXPECT_EQ(file.close(), expected);
  EXPECT_EQ(file.size(), 3u);
}

TEST(Files, AnUnfinishedNewFileIsRemovedAgain) {
  const TempFolder folder;
  { NewFile(folder.file("a")).write("half"); }
  EXPECT_FALSE(fs::exists(folder.file("a")));
}

TEST(Files, ReadingSaysWhatIsWrongWithThePath) {
  const TempFolder folder;
  const std::string big = folder.write("big", "123456");
  EXPECT_EQ(error_text<StorageError>([&] { read_file(folder.file("none")); }),
            folder.file("none") + ": no such file");
  EXPECT_EQ(error_text<StorageError>([&] { read_file(folder.path()); }),
            folder.path() + ": is a folder, expected a file");
  EXPECT_EQ(error_text<StorageError>([&] { read_file(big, 5); }),
            big + ": 6 bytes, limit 5; is this the right file?");
}

TEST(Files, AFifoIsRefusedAndNotWaitedFor) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
  EXPECT_EQ(error_text<StorageError>([&] { read_file(folder.file("pipe")); }),
            folder.file("pipe") + ": is no regular file, expected a file");
}

TEST(Rehearsal, PassesOnAWritableFolderAndLeavesItEmpty) {
  const TempFolder folder;
  rehearse_writing(folder.file("runs/out"));
  EXPECT_TRUE(fs::is_empty(folder.file("runs/out")));
}

// Museum 31.
TEST(Rehearsal, RefusesAFile) {
  const TempFolder folder;
  const std::string path = folder.write("out", "");
  EXPECT_EQ(error_text<StorageError>([&] { rehearse_writing(path); }),
            path + ": is a file, expected a folder; choose another output_dir");
}

// Museum 32.
TEST(Rehearsal, NamesTheFolderThatCannotBeWritten) {
  const TempFolder folder;
  const FailingDisk disk(0, EROFS, "mkdir");
  EXPECT_EQ(error_text<StorageError>([&] { rehearse_writing(folder.path()); }),
            folder.path() + "/: cannot write (read-only file system); choose another output_dir");
}

// Museum 34.
TEST(Rehearsal, RefusesAMountWithoutRename) {
  const TempFolder folder;
  const FailingDisk disk(0, EOPNOTSUPP, "rename");
  EXPECT_EQ(
      error_text<StorageError>([&] { rehearse_writing(folder.path()); }),
      folder.path() +
          "/: rename fails on this mount (operation not supported); use a local or NFS folder");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Rehearsal, RefusesAMountThatCannotSync) {
  const TempFolder folder;
  const FailingDisk disk(0, EINVAL, "fsync");
  EXPECT_EQ(
      error_text<StorageError>([&] { rehearse_writing(folder.path()); }),
      folder.path() + "/: sync fails on this mount (invalid argument); use a local or NFS folder");
}

TEST(FreeSpace, ThreeTimesTheStateIsAskedFor) {
  const TempFolder folder;
  require_free_space(folder.path(), 1000);
  const std::string text =
      error_text<StorageError>([&] { require_free_space(folder.path(), uint64_t{1} << 60); });
  EXPECT_NE(text.find("3458764513820 MB needed (3 x 1152921504606); free space or lower lora_rank"),
            std::string::npos)
      << text;
}

TEST(RenameToFreeName, LeavesAnExistingFolderAlone) {
  const TempFolder folder;
  folder.write("new/a", "1");
  folder.write("old/b", "2");
  EXPECT_FALSE(rename_to_free_name(folder.file("new"), folder.file("old")));
  EXPECT_TRUE(fs::exists(folder.file("old/b")));
  EXPECT_TRUE(rename_to_free_name(folder.file("new"), folder.file("free")));
  EXPECT_TRUE(fs::exists(folder.file("free/a")));
}

TEST(MakeFolders, LetsManyMakeTheSameFoldersAtOnce) {
  const TempFolder folder;
  std::atomic<int> failures = 0;
  for (int round = 0; round < 200; ++round) {
    std::barrier start(8);
    std::vector<std::thread> ranks;
    for (int rank = 0; rank < 8; ++rank) {
      ranks.emplace_back([&] {
        start.arrive_and_wait();
        try {
          make_folders(folder.file(fmt::format("{}/a/b/c/d/e", round)));
        } catch (const Error&) {
          ++failures;
        }
      });
    }
    for (std::thread& rank : ranks) rank.join();
  }
  EXPECT_EQ(failures, 0);
}

}  // namespace
}  // namespace lora_dist
