// Reading of a part, as little trusting as if a stranger had written it.
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "core/error.hpp"
#include "data/shards/part_file.hpp"
#include "data/shards/part_layout.hpp"

namespace lora_dist {
namespace {

constexpr size_t kMaxAttributeBytes = 1024;

bool has_attribute(hid_t file, const char* name, const H5Task& task) {
  return h5_check(H5Aexists(file, name), task, fmt::format("look for attribute {}", name)) > 0;
}

/// Reads a scalar attribute of an expected class into `value` of `memory_type`.
void read_attribute(hid_t file, const char* name, H5T_class_t expected_class, hid_t memory_type,
                    void* value, const H5Task& task) {
  const std::string reading = fmt::format("read attribute {}", name);
  const H5Id attribute = h5_check(H5Aopen(file, name, H5P_DEFAULT), H5Aclose, task, reading);
  const H5Id type = h5_check(H5Aget_type(attribute), H5Tclose, task, reading);
  const H5Id space = h5_check(H5Aget_space(attribute), H5Sclose, task, reading);
  if (H5Tget_class(type) != expected_class || H5Sget_simple_extent_npoints(space) != 1)
    throw DataError({.where = task.path,
                     .found = fmt::format("attribute {} is of another type", name),
                     .expected = expected_class == H5T_STRING ? "one text" : "one integer",
                     .fix = "write the file with `lora-dist prepare`"});
  h5_check(H5Aread(attribute, memory_type, value), task, reading);
}

void read_integer(hid_t file, const char* name, int64_t& value, const H5Task& task) {
  if (has_attribute(file, name, task))
    read_attribute(file, name, H5T_INTEGER, H5T_NATIVE_INT64, &value, task);
}

void read_text(hid_t file, const char* name, std::string& value, const H5Task& task) {
  if (!has_attribute(file, name, task)) return;
  const std::string reading = fmt::format("read attribute {}", name);
  const H5Id attribute = h5_check(H5Aopen(file, name, H5P_DEFAULT), H5Aclose, task, reading);
  const H5Id stored = h5_check(H5Aget_type(attribute), H5Tclose, task, reading);
  // Text of variable length (h5py's default) is left alone: reading it allocates what the file
  // says.
  if (H5Tis_variable_str(stored) > 0 || H5Tget_size(stored) > kMaxAttributeBytes) return;
  const H5Id type = h5_check(H5Tcopy(H5T_C_S1), H5Tclose, task, reading);
  h5_check(H5Tset_size(type, kMaxAttributeBytes + 1), task, reading);
  // ASCII and UTF-8 are not converted into each other; the bytes are the same.
  if (H5Tget_class(stored) == H5T_STRING)
    h5_check(H5Tset_cset(type, H5Tget_cset(stored)), task, reading);
  std::array<char, kMaxAttributeBytes + 1> buffer{};
  read_attribute(file, name, H5T_STRING, type, buffer.data(), task);
  value = buffer.data();
}

template <class Element>
std::vector<Element> read_range(hid_t dataset, hid_t memory_type, uint64_t begin, uint64_t end,
                                const char* name, const H5Task& task) {
  const H5Lock lock;
  std::vector<Element> values(end - begin);
  if (values.empty()) return values;
  const std::string reading = fmt::format("read /{}", name);
  const hsize_t start = begin, count = end - begin;
  const H5Id source = h5_check(H5Dget_space(dataset), H5Sclose, task, reading);
  const H5Id destination = h5_check(H5Screate_simple(1, &count, nullptr), H5Sclose, task, reading);
  h5_check(H5Sselect_hyperslab(source, H5S_SELECT_SET, &start, nullptr, &count, nullptr), task,
           reading);
  h5_check(H5Dread(dataset, memory_type, destination, source, H5P_DEFAULT, values.data()), task,
           reading);
  return values;
}

H5Id open_for_reading(const H5Task& task) {
  const H5Id access = h5_check(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, task, "open the file");
  // Finished parts are never written again, so readers need no lock; NFS and Lustre often have
  // none.
  h5_check(H5Pset_file_locking(access, /*use=*/false, /*ignore_when_disabled=*/true), task,
           "open the file");
  return h5_check(H5Fopen(task.path.c_str(), H5F_ACC_RDONLY, access), H5Fclose, task,
                  "open the file");
}

}  // namespace

bool is_hdf5(const std::string& path) {
  constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";
  std::string begin(kSignature.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  return file.read(begin.data(), static_cast<std::streamsize>(begin.size())) && begin == kSignature;
}

std::unique_ptr<PartFile> PartFile::open(const std::string& path) {
  return std::unique_ptr<PartFile>(new PartFile(path));
}

PartFile::PartFile(const std::string& path) : task_{.path = path} {
  if (!std::filesystem::exists(path))
    throw DataError({.where = path,
                     .found = "no such file",
                     .expected = {},
                     .fix = "prepared data has to lie where all hosts see it"});
  const H5Lock lock;
  file_ = open_for_reading(task_);
  read_attributes();
  OpenedDataset tokens = open_checked_dataset(file_, "/tokens", {2, 4}, task_);
  OpenedDataset loss_mask = open_checked_dataset(file_, "/loss_mask", {1}, task_);
  if (loss_mask.size != tokens.size)
    throw DataError({.where = path,
                     .found = fmt::format("/loss_mask has {} entries", loss_mask.size),
                     .expected = fmt::format("{}, as /tokens has", tokens.size),
                     .fix = "write the file with `lora-dist prepare`"});
  tokens_ = std::move(tokens.id);
  loss_mask_ = std::move(loss_mask.id);
  const OpenedDataset offsets = open_checked_dataset(file_, "/offsets", {8}, task_);
  offsets_ = read_range<uint64_t>(offsets.id, H5T_NATIVE_UINT64, 0, offsets.size, "offsets", task_);
  if (offsets_.empty() || offsets_.front() != 0 || offsets_.back() != tokens.size ||
      !std::ranges::is_sorted(offsets_))
    throw DataError({.where = path,
                     .found = "/offsets are not the bounds of the samples",
                     .expected = fmt::format("ascending numbers from 0 to {}", tokens.size),
                     .fix = "write the file with `lora-dist prepare`"});
}

void PartFile::read_attributes() {
  attributes_.format_version = kPartFormatVersion;
  read_integer(file_, "format_version", attributes_.format_version, task_);
  if (attributes_.format_version > kPartFormatVersion)
    throw DataError({.where = path(),
                     .found = fmt::format("format {}, this build reads {}",
                                          attributes_.format_version, kPartFormatVersion),
                     .expected = {},
                     .fix = "update lora-dist"});
  read_text(file_, "tokenizer_sha256", attributes_.tokenizer_sha256, task_);
  read_text(file_, "template_sha256", attributes_.template_sha256, task_);
  read_text(file_, "source_sha256", attributes_.source_sha256, task_);
  read_integer(file_, "max_seq_length", attributes_.max_seq_length, task_);
  read_integer(file_, "num_records", attributes_.num_records, task_);
  read_integer(file_, "num_cut", attributes_.num_cut, task_);
  read_integer(file_, "num_skipped", attributes_.num_skipped, task_);
}

std::vector<TokenId> PartFile::read_tokens(uint64_t begin, uint64_t end) const {
  return read_range<TokenId>(tokens_, H5T_NATIVE_INT32, begin, end, "tokens", task_);
}

std::vector<uint8_t> PartFile::read_loss_mask(uint64_t begin, uint64_t end) const {
  return read_range<uint8_t>(loss_mask_, H5T_NATIVE_UINT8, begin, end, "loss_mask", task_);
}

}  // namespace lora_dist
