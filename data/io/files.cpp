#include "data/io/files.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>
#include <system_error>

#include <sys/stat.h>
#include <sys/statvfs.h>

#include "data/io/unfinished.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadBytes = size_t{1} << 20;
constexpr uint64_t kMegabyte = 1000 * 1000;

DiskHook disk_hook;  // empty outside of tests

/// strerror in the way messages use it: "no space left on device".
std::string system_text(int error) {
  std::string text = std::generic_category().message(error);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

std::string fix_for(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "free space or choose another output_dir";
    case EROFS:
    case EACCES:
    case EPERM:
      return "choose another output_dir";
    default:
      return {};
  }
}

Fault storage_fault(const std::string& where, const std::string& what, int error) {
  return {.where = where,
          .found = fmt::format("{} ({})", what, system_text(error)),
          .expected = {},
          .fix = fix_for(error)};
}

[[noreturn]] void fail(const std::string& where, const std::string& what, int error) {
  throw StorageError(storage_fault(where, what, error));
}

/// One disk-changing system call: the hook first, then the call, again while it is interrupted. 0
/// or an errno.
template <class Call>
int attempt(std::string_view operation, const std::string& path, Call&& call) {
  if (disk_hook)
    if (const int error = disk_hook(operation, path)) return error;
  int result;
  do result = call();
  while (result < 0 && errno == EINTR);
  return result < 0 ? errno : 0;
}

/// A file opened for reading; regular files only, so that a fifo cannot block.
class OpenFile {
 public:
  explicit OpenFile(const std::string& path) : path_(path) {
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor_ < 0) {
      if (errno == ENOENT) throw StorageError({path, "no such file", {}, {}});
      fail(path, "cannot read", errno);
    }
    struct stat info {};
    const int error = ::fstat(descriptor_, &info) < 0 ? errno : 0;
    if (error == 0 && S_ISREG(info.st_mode)) {
      size_ = static_cast<uint64_t>(info.st_size);
      return;
    }
    ::close(descriptor_);
    if (error != 0) fail(path, "cannot read", error);
    throw StorageError(
        {path, S_ISDIR(info.st_mode) ? "is a folder" : "is no regular file", "a file", {}});
  }
  ~OpenFile() { ::close(descriptor_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  uint64_t size() const { return size_; }
  /// Bytes read; 0 at the end.
  size_t read(char* buffer, size_t size) {
    ssize_t count;
    do count = ::read(descriptor_, buffer, size);
    while (count < 0 && errno == EINTR);
    if (count < 0) fail(path_, "cannot read", errno);
    return static_cast<size_t>(count);
  }

 private:
  std::string path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

std::string parent_folder(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

}  // namespace

void set_disk_hook(DiskHook hook) { disk_hook = std::move(hook); }

std::string path_in(const std::string& folder, const std::string& name) {
  return (fs::path(folder) / name).string();
}

std::string folder_label(const std::string& path) {
  std::string label = path;
  while (label.size() > 1 && label.back() == '/') label.pop_back();
  return label == "/" ? label : label + "/";
}

std::string read_file(const std::string& path, size_t max_bytes) {
  OpenFile file(path);
  if (file.size() > max_bytes)
    throw StorageError({path,
                        fmt::format("{} bytes, limit {}", file.size(), max_bytes),
                        {},
                        "is this the right file?"});
  std::string content(file.size(), '\0');
  size_t filled = 0;
  while (filled < content.size()) {
    const size_t count = file.read(content.data() + filled, content.size() - filled);
    if (count == 0) break;  // became shorter meanwhile; what uses the text notices
    filled += count;
  }
  content.resize(filled);
  return content;
}

std::string file_sha256(const std::string& path) {
  OpenFile file(path);
  Sha256 hash;
  std::string buffer(kReadBytes, '\0');
  while (const size_t count = file.read(buffer.data(), buffer.size()))
    hash.update(buffer.data(), count);
  return hash.hex();
}

// --- new files
// ------------------------------------------------------------------------------------------------------

NewFile::NewFile(std::string path) : path_(std::move(path)) {
  const int error = attempt("open", path_, [&] {
    return descriptor_ = ::open(path_.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
  });
  if (error != 0) fail(path_, "cannot write", error);
}

NewFile::~NewFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!complete_) attempt("unlink", path_, [&] { return ::unlink(path_.c_str()); });
}

void NewFile::write(const void* bytes, size_t size) {
  const char* next = static_cast<const char*>(bytes);
  size_t left = size;
  while (left > 0) {
    ssize_t count = 0;
    const int error = attempt("write", path_, [&] {
      count = ::write(descriptor_, next, left);
      return count < 0 ? -1 : 0;
    });
    if (error != 0) fail(path_, "cannot write", error);
    next += count;
    left -= static_cast<size_t>(count);
  }
  hash_.update(bytes, size);
  size_ += size;
}

std::string NewFile::close() {
  // Not retried: after a failed fsync Linux marks the pages clean and the next one would succeed
  // without the data.
  const int sync_error = attempt("fsync", path_, [&] { return ::fsync(descriptor_); });
  if (sync_error != 0) throw SyncError(storage_fault(path_, "cannot sync", sync_error), sync_error);
  const int descriptor = std::exchange(descriptor_, -1);
  int close_error = 0;
  if (disk_hook) close_error = disk_hook("close", path_);
  // EINTR from close means closed; network file systems report late write errors here.
  if (::close(descriptor) < 0 && errno != EINTR) close_error = errno;
  if (close_error != 0) fail(path_, "cannot write", close_error);
  complete_ = true;
  return hash_.hex();
}

void write_file_atomically(const std::string& path, std::string_view content) {
  const std::string temporary = with_one_rewrite([&] {
    NewFile file(temporary_name(path));
    file.write(content);
    file.close();
    return file.path();
  });
  rename_durably(temporary, path);
}

// --- names and folders
// ----------------------------------------------------------------------------------------------

std::string random_nonce() {
  std::random_device source;
  return fmt::format("{:08x}{:08x}", source(), source());
}

std::string temporary_name(const std::string& path) {
  std::string name = path + ".tmp-" + random_nonce();
  note_unfinished(name);
  return name;
}

void make_folder(const std::string& path) {
  const int error = attempt("mkdir", path, [&] { return ::mkdir(path.c_str(), 0777); });
  if (error != 0) fail(folder_label(path), "cannot make this folder", error);
}

void make_folders(const std::string& path) {
  fs::path built;
  for (const fs::path& part : fs::path(path)) {
    built /= part;
    std::error_code ignored;
    if (fs::is_directory(built, ignored)) continue;
    const std::string name = built.string();
    const int error = attempt("mkdir", name, [&] { return ::mkdir(name.c_str(), 0777); });
    // Looked at after the attempt only: another rank may make the folder between any two questions.
    if (error == EEXIST) {
      if (fs::is_directory(built, ignored)) continue;
      throw StorageError({name, "is a file", "a folder", "choose another output_dir"});
    }
    if (error != 0) fail(folder_label(name), "cannot write", error);
  }
}

void remove_empty_folders(const std::string& path) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path, ignored))
    if (entry.is_directory(ignored) && !entry.is_symlink(ignored))
      remove_empty_folders(entry.path().string());
  if (fs::is_directory(path, ignored)) fs::remove(path, ignored);  // refuses a folder with entries
}

void sync_folder(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail(folder_label(path), "cannot sync", errno);
  const int error = attempt("fsync", path, [&] { return ::fsync(descriptor); });
  ::close(descriptor);
  if (error != 0) throw SyncError(storage_fault(folder_label(path), "cannot sync", error), error);
}

void rename_durably(const std::string& from, const std::string& to) {
  const int error = attempt("rename", to, [&] { return ::rename(from.c_str(), to.c_str()); });
  // A rename over NFS may be carried out and still answer ENOENT, when the request was sent twice.
  const bool done_before =
      error == ENOENT && ::access(from.c_str(), F_OK) != 0 && ::access(to.c_str(), F_OK) == 0;
  if (error != 0 && !done_before) {
    attempt("unlink", from, [&] { return ::unlink(from.c_str()); });
    fail(to, "cannot rename into place", error);
  }
  note_finished(from);
  sync_folder(parent_folder(to));
}

bool rename_to_free_name(const std::string& from, const std::string& to) {
  int error = attempt("rename", to, [&] {
    return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE);
  });
  if (error == EEXIST || error == ENOTEMPTY) return false;
  if (error == EINVAL || error == ENOSYS) {  // the file system lacks the flag: rename after a check
    if (::access(to.c_str(), F_OK) == 0) return false;
    error = attempt("rename", to, [&] { return ::rename(from.c_str(), to.c_str()); });
  }
  if (error != 0 && !(error == ENOENT && ::access(to.c_str(), F_OK) == 0))
    fail(folder_label(to), "cannot rename into place", error);
  note_finished(from);
  sync_folder(parent_folder(to));
  return true;
}

bool exchange_names(const std::string& a, const std::string& b) {
  const int error = attempt("rename", b, [&] {
    return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
  });
  if (error == EINVAL || error == ENOSYS) return false;
  if (error != 0) fail(folder_label(b), "cannot rename into place", error);
  sync_folder(parent_folder(b));
  return true;
}

void remove_file(const std::string& path) {
  const int error = attempt("unlink", path, [&] { return ::unlink(path.c_str()); });
  if (error != 0 && error != ENOENT) fail(path, "cannot remove", error);
}

void remove_folder(const std::string& path, const std::string& first) {
  if (!first.empty()) remove_file((fs::path(path) / first).string());
  std::error_code problem;
  for (const auto& entry : fs::directory_iterator(path, problem))
    remove_file(entry.path().string());
  const int error = attempt("rmdir", path, [&] { return ::rmdir(path.c_str()); });
  if (error != 0 && error != ENOENT) fail(folder_label(path), "cannot remove", error);
}

bool remove_known_files(const std::string& path, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const std::string entry = (fs::path(path) / name).string();
    std::error_code ignored;
    if (fs::is_directory(fs::symlink_status(entry, ignored))) {
      remove_folder(entry);
    } else {
      remove_file(entry);
    }
  }
  const int error = attempt("rmdir", path, [&] { return ::rmdir(path.c_str()); });
  if (error == ENOTEMPTY || error == EEXIST) return false;
  if (error != 0 && error != ENOENT) fail(folder_label(path), "cannot remove", error);
  return true;
}

// --- before a run
// ---------------------------------------------------------------------------------------------------

void rehearse_writing(const std::string& output_dir) {
  static constexpr std::string_view kText = "lora-dist was here\n";
  std::error_code ignored;
  if (fs::exists(output_dir, ignored) && !fs::is_directory(output_dir, ignored))
    throw StorageError({output_dir, "is a file", "a folder", "choose another output_dir"});
  make_folders(output_dir);
  const std::string label = folder_label(output_dir);
  const std::string folder = (fs::path(output_dir) / (".rehearsal-" + random_nonce())).string();
  const auto refuse_mount = [&](const char* step, int error) {
    throw StorageError({label,
                        fmt::format("{} fails on this mount ({})", step, system_text(error)),
                        {},
                        "use a local or NFS folder"});
  };
  // The fault names the folder that the user chose, not the file of the rehearsal.
  if (const int error = attempt("mkdir", folder, [&] { return ::mkdir(folder.c_str(), 0777); }))
    fail(label, "cannot write", error);
  const std::string first = folder + "/a", second = folder + "/b";
  try {
    try {
      NewFile file(first);
      file.write(kText);
      file.close();
      sync_folder(folder);
    } catch (const SyncError& failure) {
      refuse_mount("sync", failure.system_error());
    }
    if (const int error =
            attempt("rename", second, [&] { return ::rename(first.c_str(), second.c_str()); }))
      refuse_mount("rename", error);
    if (read_file(second) != kText)
      throw StorageError(
          {label, "a file just written reads back differently", {}, "use a local or NFS folder"});
  } catch (const Error&) {
    fs::remove_all(folder, ignored);
    throw;
  }
  remove_folder(folder);
}

void require_free_space(const std::string& output_dir, uint64_t state_bytes) {
  struct statvfs info {};
  if (::statvfs(output_dir.c_str(), &info) != 0)
    return;  // nothing known: the writes themselves will tell
  const uint64_t free_bytes = uint64_t{info.f_bavail} * info.f_frsize;
  const uint64_t needed_bytes = 3 * state_bytes;
  if (free_bytes >= needed_bytes) return;
  throw StorageError({folder_label(output_dir),
                      fmt::format("{} MB free, {} MB needed (3 x {})", free_bytes / kMegabyte,
                                  needed_bytes / kMegabyte, state_bytes / kMegabyte),
                      {},
                      "free space or lower lora_rank"});
}

}  // namespace lora_dist
