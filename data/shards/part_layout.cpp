#include "data/shards/part_layout.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <vector>

#include "core/base/error.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

constexpr hsize_t kMaxChunkBytes = hsize_t{64} << 20;
constexpr uint64_t kMaxDeflateRatio = 1032;  // RFC 1951: 258 bytes from 2 bits
constexpr auto kRewrite = "write it with `lora-dist prepare`";

[[noreturn]] void refuse(const H5Task& task, const std::string& found, const std::string& expected,
                         const std::string& fix) {
  throw DataError({.where = task.path, .found = found, .expected = expected, .fix = fix});
}

void require_hard_link(hid_t file, const ExpectedDataset& expected, const H5Task& task) {
  const std::string& name = expected.name;
  if (h5_check(H5Lexists(file, name.c_str(), H5P_DEFAULT), task, "look for " + name) == 0)
    refuse(task, "no dataset " + name, expected.all_names, kRewrite);
  H5L_info_t info;
  h5_check(H5Lget_info(file, name.c_str(), &info, H5P_DEFAULT), task, "look at " + name);
  if (info.type == H5L_TYPE_HARD) return;
  std::vector<char> value(info.u.val_size + 1);
  h5_check(H5Lget_val(file, name.c_str(), value.data(), info.u.val_size, H5P_DEFAULT), task,
           "look at " + name);
  const char* target_file = nullptr;
  const char* target = value.data();
  if (info.type == H5L_TYPE_EXTERNAL)
    h5_check(H5Lunpack_elink_val(value.data(), info.u.val_size, nullptr, &target_file, &target),
             task, "look at " + name);
  refuse(task,
         fmt::format("{} is a link to {}'{}'; links are refused", name,
                     target_file != nullptr ? "file " : "",
                     printable(target_file != nullptr ? target_file : target)),
         {}, {});
}

/// Errors  DataError: storage outside the file or a filter that is not built in. Returns whether
/// data is deflated.
bool require_plain_storage(hid_t creation, const std::string& name, const H5Task& task) {
  if (H5Pget_layout(creation) == H5D_VIRTUAL)
    refuse(task, fmt::format("dataset {} is virtual", name), {}, "write it as one file");
  if (h5_check(H5Pget_external_count(creation), task, "look at " + name) > 0) {
    std::array<char, 256> file{};
    h5_check(H5Pget_external(creation, 0, file.size() - 1, file.data(), nullptr, nullptr), task,
             "look at " + name);
    refuse(task,
           fmt::format("dataset {} keeps its data in '{}'; external storage is refused", name,
                       printable(file.data())),
           {}, {});
  }
  bool deflated = false;
  const int num_filters = h5_check(H5Pget_nfilters(creation), task, "look at " + name);
  for (int i = 0; i < num_filters; ++i) {
    unsigned flags = 0, config = 0;
    size_t num_values = 0;
    const H5Z_filter_t filter =
        H5Pget_filter2(creation, i, &flags, &num_values, nullptr, 0, nullptr, &config);
    if (filter != H5Z_FILTER_SHUFFLE && filter != H5Z_FILTER_DEFLATE &&
        filter != H5Z_FILTER_FLETCHER32)
      refuse(task, fmt::format("dataset {} needs filter {}", name, static_cast<int>(filter)), {},
             "use none, shuffle or deflate");
    deflated = deflated || filter == H5Z_FILTER_DEFLATE;
  }
  return deflated;
}

size_t require_numbers(hid_t dataset, const ExpectedDataset& expected, const H5Task& task) {
  const H5Id type =
      h5_check(H5Dget_type(dataset), H5Tclose, task, "read the type of " + expected.name);
  const StoredNumbers& numbers = expected.numbers;
  const size_t width = H5Tget_size(type);
  const bool is_kind =
      H5Tget_class(type) == numbers.kind &&
      (numbers.kind == H5T_FLOAT || (H5Tget_sign(type) == H5T_SGN_NONE) == numbers.is_unsigned);
  if (is_kind && std::ranges::count(numbers.widths_bytes, width) > 0) return width;
  refuse(task, fmt::format("{} is {}", expected.name, name_of_type(type)), numbers.names(),
         kRewrite);
}

/// The extent of the first dimension.
uint64_t require_shape(hid_t dataset, const ExpectedDataset& expected, const H5Task& task) {
  const std::string& name = expected.name;
  const H5Id space = h5_check(H5Dget_space(dataset), H5Sclose, task, "look at " + name);
  const int num_dimensions = h5_check(H5Sget_simple_extent_ndims(space), task, "look at " + name);
  if (num_dimensions != 1 + std::ssize(expected.element))
    refuse(task, fmt::format("{} has {} dimensions", name, num_dimensions),
           fmt::format("{}", 1 + expected.element.size()), kRewrite);
  std::vector<hsize_t> extent(num_dimensions);
  h5_check(H5Sget_simple_extent_dims(space, extent.data(), nullptr), task, "look at " + name);
  if (!std::equal(extent.begin() + 1, extent.end(), expected.element.begin(),
                  [](hsize_t has, int64_t wanted) { return has == static_cast<hsize_t>(wanted); }))
    refuse(task,
           fmt::format("elements of {} are ({})", name,
                       fmt::join(extent.begin() + 1, extent.end(), ", ")),
           fmt::format("({})", fmt::join(expected.element, ", ")), kRewrite);
  return extent.front();
}

/// An extent costs nothing to declare: it has to be backed by bytes of the file before memory is
/// asked for. `size` elements of `element_bytes` each.
void require_backed_extent(hid_t dataset, hid_t creation, uint64_t size, size_t element_bytes,
                           bool deflated, const ExpectedDataset& expected, const H5Task& task) {
  const std::string& name = expected.name;
  const uint64_t file_bytes = std::filesystem::file_size(task.path);
  const uint64_t most_bytes = file_bytes * (deflated ? kMaxDeflateRatio : 1);
  bool backed = size <= most_bytes / element_bytes;
  if (backed && H5Pget_layout(creation) == H5D_CHUNKED) {
    std::vector<hsize_t> chunk(1 + expected.element.size());
    hsize_t num_chunks = 0;
    h5_check(H5Pget_chunk(creation, static_cast<int>(chunk.size()), chunk.data()), task,
             "look at " + name);
    // A chunk holds whole elements, so that the first dimension alone counts chunks.
    if (!std::equal(chunk.begin() + 1, chunk.end(), expected.element.begin(),
                    [](hsize_t has, int64_t all) { return has == static_cast<hsize_t>(all); }))
      refuse(task, fmt::format("dataset {} has chunks of parts of elements", name),
             "whole elements", kRewrite);
    if (chunk.front() > kMaxChunkBytes / element_bytes)
      refuse(task,
             fmt::format("dataset {} has chunks of {} bytes", name, chunk.front() * element_bytes),
             "at most 64 MiB", kRewrite);
    const H5Id space = h5_check(H5Dget_space(dataset), H5Sclose, task, "look at " + name);
    h5_check(H5Dget_num_chunks(dataset, space, &num_chunks), task, "count the chunks of " + name);
    backed = size <= num_chunks * chunk.front();
  } else if (backed && H5Pget_layout(creation) == H5D_CONTIGUOUS) {
    backed = size * element_bytes <= H5Dget_storage_size(dataset);
  }
  if (!backed)
    refuse(task,
           fmt::format("{} declares {} bytes, the file has {}", name,
                       static_cast<unsigned __int128>(size) * element_bytes, file_bytes),
           {}, {});
}

}  // namespace

OpenedDataset open_checked_dataset(hid_t file, const ExpectedDataset& expected,
                                   const H5Task& task) {
  const std::string& name = expected.name;
  require_hard_link(file, expected, task);
  OpenedDataset opened{
      h5_check(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, task, "open " + name), 0};
  const H5Id creation = h5_check(H5Dget_create_plist(opened.id), H5Pclose, task, "look at " + name);
  const bool deflated = require_plain_storage(creation, name, task);
  size_t element_bytes = require_numbers(opened.id, expected, task);
  for (const int64_t extent : expected.element) element_bytes *= static_cast<size_t>(extent);
  opened.size = require_shape(opened.id, expected, task);
  require_backed_extent(opened.id, creation, opened.size, element_bytes, deflated, expected, task);
  return opened;
}

}  // namespace lora_dist
