// Files as the rules of reliability 3.3 want them: everything checked, nothing half-written.
//
// Promises: short writes and EINTR are handled, fsync is called once and never again on the same
// file, close is checked, nothing is pre-sized or written through a map, descriptors do not leak
// into children. Text of the operating system stands in brackets behind our own words.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/sha256.hpp"

namespace lora_dist {

/// Whole file. Errors  StorageError (no such file, permission); `max_bytes` guards against the
/// wrong file.
std::string read_file(const std::string& path, size_t max_bytes = size_t{1} << 33);
/// Temporary name, write, fsync, rename, fsync of the folder. Errors  StorageError.
void write_file_atomically(const std::string& path, std::string_view content);
void make_folders(const std::string& path);
/// Removes `path` and the folders below it as far as they hold no file; what cannot be removed
/// stays.
void remove_empty_folders(const std::string& path);
void sync_folder(const std::string& path);
/// Proves that `output_dir` can be written before anything is loaded: mkdir, write, fsync, rename,
/// read back, remove.
void rehearse_writing(const std::string& output_dir);
/// Errors  StorageError: less than three times `state_bytes` is free below `output_dir`.
void require_free_space(const std::string& output_dir, uint64_t state_bytes);
/// SHA-256 of a file's bytes, streamed.
std::string file_sha256(const std::string& path);

/// The file or folder `name` in `folder`.
std::string path_in(const std::string& folder, const std::string& name);
/// "out/": a folder's name as messages show it.
std::string folder_label(const std::string& path);

// --- pieces of durable writing, for files and folders that are built up under a temporary name
// -------------------------

/// fsync failed. The kernel may have dropped the pages, so the same file is lost; a new file may be
/// written once.
class SyncError : public StorageError {
 public:
  SyncError(const Fault& fault, int system_error)
      : StorageError(fault), system_error_(system_error) {}
  int system_error() const { return system_error_; }

 private:
  int system_error_;
};

/// Runs `write`, which makes a new file or folder; once more if an fsync in it failed.
template <class Write>
auto with_one_rewrite(Write&& write) {
  try {
    return write();
  } catch (const SyncError&) {
    return write();
  }
}

/// A file that did not exist before, written front to back. Unless close() returned, it is removed
/// again.
class NewFile {
 public:
  explicit NewFile(std::string path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(const void* bytes, size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// fsync and close; SHA-256 of what was written. Errors  SyncError, StorageError.
  std::string close();

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }

 private:
  std::string path_;
  int descriptor_ = -1;
  bool complete_ = false;
  uint64_t size_ = 0;
  Sha256 hash_;
};

/// `path` with a suffix ".tmp-<nonce>" that no other process uses.
std::string temporary_name(const std::string& path);
std::string random_nonce();
void make_folder(const std::string& path);
/// Renames and makes the new name durable. An existing file at `to` is replaced.
void rename_durably(const std::string& from, const std::string& to);
/// Renames a folder, makes it durable; false, with nothing changed, when `to` exists.
bool rename_to_free_name(const std::string& from, const std::string& to);
/// Swaps two names in one step and makes it durable; false, with nothing changed, where the file
/// system cannot.
bool exchange_names(const std::string& a, const std::string& b);
void remove_file(const std::string& path);
/// Removes a folder of plain files, `first` before all others. Missing ones are no error.
void remove_folder(const std::string& path, const std::string& first = {});
/// Removes the files `names` of a folder, in this order, and the folder if it held nothing else;
/// false where it does. A name may be that of a folder whose files are all ours.
bool remove_known_files(const std::string& path, const std::vector<std::string>& names);

/// Asked before every operation that changes the disk (mkdir, open, write, fsync, close, rename,
/// unlink, rmdir); a result other than 0 is the errno with which the operation fails without being
/// done. Tests use it to stop a save at each operation in turn. Set while no other thread writes.
using DiskHook = std::function<int(std::string_view operation, const std::string& path)>;
void set_disk_hook(DiskHook hook);

}  // namespace lora_dist
