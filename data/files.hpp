// Files as the rules of reliability 3.3 want them: everything checked, nothing half-written.
#pragma once

#include <string>
#include <string_view>

namespace lora_dist {

/// Whole file. Errors  StorageError (no such file, permission); `max_bytes` guards against the wrong file.
std::string read_file(const std::string& path, size_t max_bytes = size_t{1} << 33);
/// Temporary name, write, fsync, rename, fsync of the folder. Errors  StorageError.
void write_file_atomically(const std::string& path, std::string_view content);
void make_folders(const std::string& path);
void sync_folder(const std::string& path);
/// Proves that `output_dir` can be written before anything is loaded: mkdir, write, fsync, rename, read back, remove.
void rehearse_writing(const std::string& output_dir);
/// SHA-256 of a file's bytes, streamed.
std::string file_sha256(const std::string& path);

}  // namespace lora_dist
