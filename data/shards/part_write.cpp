// Writing of a part; its format is described in part_file.hpp.
#include <algorithm>
#include <filesystem>

#include "data/files.hpp"
#include "data/shards/part_file.hpp"

namespace lora_dist {
namespace {

// Reading a sample touches few chunks, and small parts stay small.
constexpr hsize_t kChunkElements = 16384;
constexpr size_t kGrowBytes = size_t{1} << 20;  // of the image in memory
constexpr int64_t kMaxShortIds = 65536;         // ids that fit into uint16

void write_dataset(hid_t file, const char* name, hid_t file_type, hid_t memory_type,
                   const void* values, hsize_t size, const H5Task& task) {
  const std::string writing = fmt::format("write /{}", name);
  const H5Id space = h5_check(H5Screate_simple(1, &size, nullptr), H5Sclose, task, writing);
  const H5Id creation = h5_check(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, task, writing);
  h5_check(H5Pset_obj_track_times(creation, false), task, writing);
  if (size > 0) {  // the library refuses chunks of an empty dataset
    const hsize_t chunk = std::min(size, kChunkElements);
    h5_check(H5Pset_chunk(creation, 1, &chunk), task, writing);
    h5_check(H5Pset_fletcher32(creation), task, writing);
  }
  const H5Id dataset =
      h5_check(H5Dcreate2(file, name, file_type, space, H5P_DEFAULT, creation, H5P_DEFAULT),
               H5Dclose, task, writing);
  h5_check(H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), task, writing);
}

void write_attribute(hid_t file, const char* name, hid_t type, const void* value,
                     const H5Task& task) {
  const std::string writing = fmt::format("write attribute {}", name);
  const H5Id space = h5_check(H5Screate(H5S_SCALAR), H5Sclose, task, writing);
  const H5Id attribute = h5_check(H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT),
                                  H5Aclose, task, writing);
  h5_check(H5Awrite(attribute, type, value), task, writing);
}

void write_text(hid_t file, const char* name, const std::string& text, const H5Task& task) {
  const H5Id type = h5_check(H5Tcopy(H5T_C_S1), H5Tclose, task, "make a text type");
  h5_check(H5Tset_size(type, text.size() + 1), task, "make a text type");
  h5_check(H5Tset_cset(type, H5T_CSET_UTF8), task, "make a text type");
  write_attribute(file, name, type, text.c_str(), task);
}

void write_attributes(hid_t file, const PartAttributes& attributes, const H5Task& task) {
  write_text(file, "tokenizer_sha256", attributes.tokenizer_sha256, task);
  write_text(file, "template_sha256", attributes.template_sha256, task);
  write_text(file, "source_sha256", attributes.source_sha256, task);
  write_attribute(file, "format_version", H5T_NATIVE_INT64, &attributes.format_version, task);
  write_attribute(file, "max_seq_length", H5T_NATIVE_INT64, &attributes.max_seq_length, task);
  write_attribute(file, "num_records", H5T_NATIVE_INT64, &attributes.num_records, task);
  write_attribute(file, "num_cut", H5T_NATIVE_INT64, &attributes.num_cut, task);
  write_attribute(file, "num_skipped", H5T_NATIVE_INT64, &attributes.num_skipped, task);
}

/// Lets the library write a file, front to back when it is closed.
void write_scratch(const PartAttributes& attributes, const PartContent& content, int64_t vocab_size,
                   const H5Task& task) {
  const H5Lock lock;
  const H5Id access = h5_check(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, task, "create the file");
  h5_check(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110), task, "create the file");
  h5_check(H5Pset_fapl_core(access, kGrowBytes, /*backing_store=*/true), task, "create the file");
  // Without times equal content is equal bytes, whoever writes it and when.
  const H5Id creation = h5_check(H5Pcreate(H5P_FILE_CREATE), H5Pclose, task, "create the file");
  h5_check(H5Pset_obj_track_times(creation, false), task, "create the file");
  H5Id file = h5_check(H5Fcreate(task.path.c_str(), H5F_ACC_EXCL, creation, access), H5Fclose, task,
                       "create the file");
  const hid_t token_type = vocab_size <= kMaxShortIds ? H5T_STD_U16LE : H5T_STD_U32LE;
  write_dataset(file, "tokens", token_type, H5T_NATIVE_INT32, content.tokens.data(),
                content.tokens.size(), task);
  write_dataset(file, "loss_mask", H5T_STD_U8LE, H5T_NATIVE_UINT8, content.loss_mask.data(),
                content.loss_mask.size(), task);
  write_dataset(file, "offsets", H5T_STD_U64LE, H5T_NATIVE_UINT64, content.offsets.data(),
                content.offsets.size(), task);
  write_attributes(file, attributes, task);
  h5_check(file.close(), task, "write the file");
}

/// The bytes of the file, so that they reach the disk by the one way all our files take. Not
/// H5Fget_file_image: the library of Debian 12 (1.10.8) leaves a wrong checksum in the superblock
/// of such an image.
std::string part_image(const PartAttributes& attributes, const PartContent& content,
                       int64_t vocab_size, const std::string& scratch) {
  try {
    write_scratch(attributes, content, vocab_size, {.path = scratch, .writes = true});
    std::string image = read_file(scratch);
    remove_file(scratch);
    return image;
  } catch (const StorageError&) {
    std::error_code ignored;
    std::filesystem::remove(scratch, ignored);
    throw;
  }
}

}  // namespace

void PartContent::add(const Tokens& sample) {
  tokens.insert(tokens.end(), sample.ids.begin(), sample.ids.end());
  loss_mask.insert(loss_mask.end(), sample.loss_mask.begin(), sample.loss_mask.end());
  offsets.push_back(tokens.size());
}

void write_part(const std::string& path, const PartAttributes& attributes,
                const PartContent& content, int64_t vocab_size) {
  write_file_atomically(path, part_image(attributes, content, vocab_size, temporary_name(path)));
}

}  // namespace lora_dist
