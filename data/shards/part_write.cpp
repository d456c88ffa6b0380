// Writing of a part; its format is described in part_file.hpp.
#include <algorithm>
#include <filesystem>
#include <functional>
#include <numeric>

#include "data/io/files.hpp"
#include "data/shards/part_file.hpp"
#include "data/shards/stored_types.hpp"

namespace lora_dist {
namespace {

// Reading a sample touches few chunks, and small parts stay small.
constexpr hsize_t kChunkNumbers = 16384;
constexpr size_t kGrowBytes = size_t{1} << 20;  // of the image in memory

/// `extent`: elements, and the shape of one.
void write_dataset(hid_t file, const std::string& name, hid_t file_type, hid_t memory_type,
                   const void* values, const std::vector<hsize_t>& extent, const H5Task& task) {
  const std::string writing = fmt::format("write /{}", name);
  const auto num_dimensions = static_cast<int>(extent.size());
  const H5Id space =
      h5_check(H5Screate_simple(num_dimensions, extent.data(), nullptr), H5Sclose, task, writing);
  const H5Id creation = h5_check(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, task, writing);
  h5_check(H5Pset_obj_track_times(creation, false), task, writing);
  if (extent.front() > 0) {  // the library refuses chunks of an empty dataset
    const hsize_t numbers_per_element =
        std::accumulate(extent.begin() + 1, extent.end(), hsize_t{1}, std::multiplies<hsize_t>());
    std::vector<hsize_t> chunk = extent;
    chunk.front() = std::clamp<hsize_t>(kChunkNumbers / numbers_per_element, 1, extent.front());
    h5_check(H5Pset_chunk(creation, num_dimensions, chunk.data()), task, writing);
    h5_check(H5Pset_fletcher32(creation), task, writing);
  }
  const H5Id dataset =
      h5_check(H5Dcreate2(file, name.c_str(), file_type, space, H5P_DEFAULT, creation, H5P_DEFAULT),
               H5Dclose, task, writing);
  h5_check(H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), task, writing);
}

void write_column(hid_t file, const PartContent& content, size_t column, const H5Task& task) {
  const Column& described = content.schema().columns[column];
  std::vector<hsize_t> extent = {static_cast<hsize_t>(content.num_elements(column))};
  extent.insert(extent.end(), described.element.begin(), described.element.end());
  write_dataset(file, described.name, file_type(described, task),
                memory_type(described.dtype, task), content.bytes(column).data(), extent, task);
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

void write_integer(hid_t file, const char* name, int64_t value, const H5Task& task) {
  write_attribute(file, name, H5T_NATIVE_INT64, &value, task);
}

void write_attributes(hid_t file, const PartAttributes& attributes, const SampleSchema& schema,
                      const H5Task& task) {
  for (const std::string& name : schema.origins)
    write_text(file, name.c_str(), attributes.origin(name), task);
  write_text(file, "source_sha256", attributes.source_sha256, task);
  write_integer(file, "format_version", part_format_of(schema), task);
  write_integer(file, "max_seq_length", attributes.max_seq_length, task);
  write_integer(file, "num_records", attributes.num_records, task);
  write_integer(file, "num_cut", attributes.num_cut, task);
  write_integer(file, "num_skipped", attributes.num_skipped, task);
  write_text(file, "task", schema.task, task);
  write_integer(file, "schema_version", schema.version, task);
}

/// Lets the library write a file, front to back when it is closed.
void write_scratch(const PartAttributes& attributes, const PartContent& content,
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
  for (size_t column = 0; column < content.schema().columns.size(); ++column)
    write_column(file, content, column, task);
  for (const auto& [name, bounds] : content.offsets())
    write_dataset(file, name, H5T_STD_U64LE, H5T_NATIVE_UINT64, bounds.data(), {bounds.size()},
                  task);
  write_attributes(file, attributes, content.schema(), task);
  h5_check(file.close(), task, "write the file");
}

/// The bytes of the file, so that they reach the disk by the one way all our files take. Not
/// H5Fget_file_image: the library of Debian 12 (1.10.8) leaves a wrong checksum in the superblock
/// of such an image.
std::string part_image(const PartAttributes& attributes, const PartContent& content,
                       const std::string& scratch) {
  try {
    write_scratch(attributes, content, {.path = scratch, .writes = true});
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

PartContent::PartContent(SampleSchema schema)
    : schema_(std::move(schema)), bytes_(schema_.columns.size()) {
  for (const Column& column : schema_.columns)
    if (!column.offsets.empty()) offsets_[column.offsets] = {0};
}

void PartContent::add(const Sample& sample) {
  require_fitting(sample, schema_);
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const auto* first = static_cast<const char*>(sample.values[i].const_data_ptr());
    bytes_[i].insert(bytes_[i].end(), first, first + sample.values[i].nbytes());
  }
  ++num_samples_;
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const std::string& name = schema_.columns[i].offsets;
    if (name.empty()) continue;
    std::vector<uint64_t>& bounds = offsets_[name];
    const uint64_t end = bounds[num_samples_ - 1] + sample.values[i].size(0);
    bounds.resize(num_samples_ + 1, end);
  }
}

uint64_t PartContent::num_elements(size_t column) const {
  const std::string& name = schema_.columns[column].offsets;
  return name.empty() ? static_cast<uint64_t>(num_samples_) : offsets_.at(name).back();
}

void write_part(const std::string& path, const PartAttributes& attributes,
                const PartContent& content) {
  write_file_atomically(path, part_image(attributes, content, temporary_name(path)));
}

}  // namespace lora_dist
