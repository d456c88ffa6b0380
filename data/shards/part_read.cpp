// Reading of a part, as little trusting as if a stranger had written it.
#include <algorithm>
#include <array>
#include <filesystem>

#include "core/base/error.hpp"
#include "core/tasks/task_kind.hpp"
#include "data/io/printable.hpp"
#include "data/shards/part_file.hpp"
#include "data/shards/part_layout.hpp"
#include "data/shards/stored_types.hpp"

namespace lora_dist {
namespace {

constexpr size_t kMaxAttributeBytes = 1024;
constexpr auto kWriteAgain = "write the file with `lora-dist prepare`";

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
                     .fix = kWriteAgain});
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

/// Elements [begin, end) of a dataset into `values`; `element` is the shape of one.
void read_range(hid_t dataset, hid_t memory_type, ElementRange range,
                const std::vector<int64_t>& element, void* values, const std::string& name,
                const H5Task& task) {
  if (range.begin == range.end) return;
  const std::string reading = fmt::format("read /{}", name);
  std::vector<hsize_t> start(1 + element.size(), 0), count = {range.end - range.begin};
  start.front() = range.begin;
  count.insert(count.end(), element.begin(), element.end());
  const H5Id source = h5_check(H5Dget_space(dataset), H5Sclose, task, reading);
  const H5Id destination =
      h5_check(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr), H5Sclose,
               task, reading);
  h5_check(
      H5Sselect_hyperslab(source, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr),
      task, reading);
  h5_check(H5Dread(dataset, memory_type, destination, source, H5P_DEFAULT, values), task, reading);
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

int64_t part_format_of(const SampleSchema& schema) {
  return schema.task == kTextGeneration && schema.version == 1 ? 1 : kPartFormatVersion;
}

std::string PartAttributes::origin(const std::string& name) const {
  const auto found = origins.find(name);
  return found == origins.end() ? std::string() : found->second;
}

std::unique_ptr<PartFile> PartFile::open(const std::string& path, const SampleSchema& schema) {
  return std::unique_ptr<PartFile>(new PartFile(path, &schema));
}

std::unique_ptr<PartFile> PartFile::open(const std::string& path) {
  return std::unique_ptr<PartFile>(new PartFile(path, nullptr));
}

PartFile::PartFile(const std::string& path, const SampleSchema* schema) : task_{.path = path} {
  if (!std::filesystem::exists(path))
    throw DataError({.where = path,
                     .found = "no such file",
                     .expected = {},
                     .fix = "prepared data has to lie where all hosts see it"});
  const H5Lock lock;
  file_ = open_for_reading(task_);
  read_schema(schema);
  read_attributes();
  open_columns();
}

void PartFile::read_schema(const SampleSchema* expected) {
  read_integer(file_, "format_version", format_version_, task_);
  if (format_version_ > kPartFormatVersion)
    throw DataError({.where = path(),
                     .found = fmt::format("format {}, this build reads {}", format_version_,
                                          kPartFormatVersion),
                     .expected = {},
                     .fix = "update lora-dist"});
  std::string named = kTextGeneration;  // what parts hold that name no task
  int64_t version = 1;
  read_text(file_, "task", named, task_);
  read_integer(file_, "schema_version", version, task_);
  if (expected != nullptr) {
    schema_ = *expected;
  } else if (const TaskKind* kind = tasks().find(named)) {
    schema_ = kind->schema({});
  }
  if (schema_.task != named)
    throw DataError(
        {.where = path(),
         .found = fmt::format("samples of task '{}'", printable(named)),
         .expected = expected != nullptr ? schema_.task
                                         : fmt::format("{}", fmt::join(tasks().names(), ", ")),
         .fix = expected != nullptr ? "prepare the data for this task" : "update lora-dist"});
  if (version != schema_.version)
    throw DataError(
        {.where = path(),
         .found = fmt::format("version {} of the samples of {}, this build reads {}", version,
                              named, schema_.version),
         .expected = {},
         .fix = version > schema_.version ? "update lora-dist" : "prepare the data again"});
}

void PartFile::read_attributes() {
  for (const std::string& name : schema_.origins)
    read_text(file_, name.c_str(), attributes_.origins[name], task_);
  read_text(file_, "source_sha256", attributes_.source_sha256, task_);
  read_integer(file_, "max_seq_length", attributes_.max_seq_length, task_);
  read_integer(file_, "num_records", attributes_.num_records, task_);
  read_integer(file_, "num_cut", attributes_.num_cut, task_);
  read_integer(file_, "num_skipped", attributes_.num_skipped, task_);
}

void PartFile::open_columns() {
  std::vector<std::string> names;
  for (const Column& column : schema_.columns) {
    names.push_back("/" + column.name);
    if (!column.offsets.empty()) offsets_[column.offsets];
  }
  for (const auto& [name, bounds] : offsets_) names.push_back("/" + name);
  const std::string all_names = fmt::format("{}", fmt::join(names, ", "));
  for (const Column& column : schema_.columns) {
    OpenedDataset opened = open_checked_dataset(file_,
                                                {.name = "/" + column.name,
                                                 .numbers = stored_numbers(column),
                                                 .element = column.element,
                                                 .all_names = all_names},
                                                task_);
    columns_.push_back({std::move(opened.id), memory_type(column.dtype, task_), opened.size,
                        column.offsets.empty() ? nullptr : &offsets_.at(column.offsets)});
  }
  for (auto& [name, bounds] : offsets_) {
    const OpenedDataset opened = open_checked_dataset(file_,
                                                      {.name = "/" + name,
                                                       .numbers = {.widths_bytes = {8}},
                                                       .element = {},
                                                       .all_names = all_names},
                                                      task_);
    bounds.resize(opened.size);
    read_range(opened.id, H5T_NATIVE_UINT64, {0, opened.size}, {}, bounds.data(), name, task_);
    require_bounds(name, bounds);
  }
  num_samples_ = static_cast<int64_t>(columns_.front().offsets != nullptr
                                          ? columns_.front().offsets->size() - 1
                                          : columns_.front().num_elements);
  for (size_t i = 0; i < columns_.size(); ++i) require_samples(i);
}

/// The columns that share these bounds are as long as they say.
void PartFile::require_bounds(const std::string& name, const std::vector<uint64_t>& offsets) const {
  const Column* first = nullptr;
  uint64_t size = 0;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const Column& column = schema_.columns[i];
    if (column.offsets != name) continue;
    if (first == nullptr) {
      first = &column;
      size = columns_[i].num_elements;
    } else if (columns_[i].num_elements != size) {
      throw DataError(
          {.where = path(),
           .found = fmt::format("/{} has {} entries", column.name, columns_[i].num_elements),
           .expected = fmt::format("{}, as /{} has", size, first->name),
           .fix = kWriteAgain});
    }
  }
  if (offsets.empty() || offsets.front() != 0 || offsets.back() != size ||
      !std::ranges::is_sorted(offsets))
    throw DataError({.where = path(),
                     .found = fmt::format("/{} are not the bounds of the samples", name),
                     .expected = fmt::format("ascending numbers from 0 to {}", size),
                     .fix = kWriteAgain});
}

void PartFile::require_samples(size_t column) const {
  const OpenedColumn& opened = columns_[column];
  const auto samples = static_cast<int64_t>(opened.offsets != nullptr ? opened.offsets->size() - 1
                                                                      : opened.num_elements);
  if (samples == num_samples_) return;
  throw DataError(
      {.where = path(),
       .found = fmt::format("/{} has {} samples", schema_.columns[column].name, samples),
       .expected = fmt::format("{}, as /{} has", num_samples_, schema_.columns.front().name),
       .fix = kWriteAgain});
}

ElementRange PartFile::whole_range(size_t column, int64_t sample) const {
  const auto at = static_cast<uint64_t>(sample);
  const std::vector<uint64_t>* offsets = columns_[column].offsets;
  if (offsets == nullptr) return {at, at + 1};
  return {(*offsets)[at], (*offsets)[at + 1]};
}

ElementRange PartFile::range(size_t column, int64_t sample) const {
  ElementRange range = whole_range(column, sample);
  if (const auto most = static_cast<uint64_t>(schema_.columns[column].max_elements); most > 0)
    range.end = std::min(range.end, range.begin + most);
  return range;
}

bool PartFile::is_cut(int64_t sample) const {
  for (size_t column = 0; column < columns_.size(); ++column)
    if (range(column, sample).end < whole_range(column, sample).end) return true;
  return false;
}

at::Tensor PartFile::read_elements(size_t column, ElementRange elements) const {
  const Column& described = schema_.columns[column];
  std::vector<int64_t> shape = {static_cast<int64_t>(elements.end - elements.begin)};
  shape.insert(shape.end(), described.element.begin(), described.element.end());
  at::Tensor values = at::empty(shape, described.dtype);
  const H5Lock lock;
  read_range(columns_[column].dataset, columns_[column].memory_type, elements, described.element,
             values.mutable_data_ptr(), described.name, task_);
  return values;
}

Sample PartFile::read(int64_t sample) const {
  Sample result;
  for (size_t column = 0; column < columns_.size(); ++column) {
    at::Tensor value = read_elements(column, range(column, sample));
    const bool is_one = columns_[column].offsets == nullptr;
    result.values.push_back(is_one ? value.squeeze(0) : std::move(value));
  }
  return result;
}

std::vector<SampleMeasure> PartFile::measure() const {
  std::vector<at::Tensor> numbers(columns_.size());  // [column], of the measured ones
  for (size_t column = 0; column < columns_.size(); ++column)
    if (schema_.columns[column].measured)
      numbers[column] = read_elements(column, {0, columns_[column].num_elements});
  std::vector<SampleMeasure> measures;
  measures.reserve(num_samples_);
  std::vector<ColumnView> view(columns_.size());
  for (int64_t sample = 0; sample < num_samples_; ++sample) {
    for (size_t column = 0; column < columns_.size(); ++column) {
      const ElementRange elements = range(column, sample);
      view[column].num_elements = static_cast<int64_t>(elements.end - elements.begin);
      if (const at::Tensor& all = numbers[column]; all.defined() && all.size(0) > 0)
        view[column].data = static_cast<const char*>(all.const_data_ptr()) +
                            elements.begin * (all.nbytes() / all.size(0));
    }
    measures.push_back(schema_.measure(view));
  }
  return measures;
}

}  // namespace lora_dist
