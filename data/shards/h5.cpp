#include "data/shards/h5.hpp"

#include "core/base/error.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

std::recursive_mutex& library_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

/// Takes the first, innermost entry of the error stack: the cause.
herr_t take_cause(unsigned depth, const H5E_error2_t* entry, void* text) {
  if (depth == 0 && entry->desc != nullptr) *static_cast<std::string*>(text) = entry->desc;
  return 0;
}

}  // namespace

H5Lock::H5Lock() : lock_(library_mutex()) {
  H5PLset_loading_state(0);
  H5Eset_auto2(H5E_DEFAULT, nullptr,
               nullptr);  // belongs to the calling thread in a thread-safe build
}

H5Id::~H5Id() { close(); }

herr_t H5Id::close() {
  if (id_ < 0) return 0;
  const H5Lock lock;
  return close_(std::exchange(id_, -1));
}

void h5_failed(const H5Task& task, std::string_view doing) {
  std::string cause;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_cause, &cause);
  const std::string found = fmt::format("cannot {} (HDF5: {})", doing,
                                        cause.empty() ? "no reason given" : printable(cause, 120));
  if (task.writes)
    throw StorageError({.where = task.path,
                        .found = found,
                        .expected = {},
                        .fix = "check space and permissions of the folder"});
  throw DataError({.where = task.path,
                   .found = found,
                   .expected = {},
                   .fix = "the file is damaged; write it again with `lora-dist prepare`"});
}

}  // namespace lora_dist
