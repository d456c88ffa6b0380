// The HDF5 C library behind one lock, RAII and one checker.
//
// The library is never entered without an H5Lock, whatever way it was built. Plugins are off and
// its own error printing is silent: its words follow ours in brackets.
#pragma once

#include <hdf5.h>

#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace lora_dist {

/// Held around every use of the library, also the closing of handles. A thread may nest it.
class H5Lock {
 public:
  H5Lock();

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

/// An identifier that is closed with its own function.
class H5Id {
 public:
  using Close = herr_t (*)(hid_t);
  H5Id() = default;
  H5Id(hid_t id, Close close) : id_(id), close_(close) {}
  H5Id(H5Id&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  H5Id& operator=(H5Id&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~H5Id();

  /// Closes now and gives the library's answer; a file that was written shows its last errors here.
  herr_t close();

  operator hid_t() const {
    return id_;
  }  // NOLINT(google-explicit-constructor): goes to the C functions as it is
 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

/// The file a call works on; a failed read is the fault of its content, a failed write that of the
/// storage.
struct H5Task {
  std::string path;
  bool writes = false;
};

[[noreturn]] void h5_failed(const H5Task& task, std::string_view doing);

/// Returns `result` of an HDF5 call. `doing` completes "cannot ...". Errors  DataError,
/// StorageError.
template <class Result>
Result h5_check(Result result, const H5Task& task, std::string_view doing) {
  if (result < 0) h5_failed(task, doing);
  return result;
}
inline H5Id h5_check(hid_t id, H5Id::Close close, const H5Task& task, std::string_view doing) {
  return {h5_check(id, task, doing), close};
}

}  // namespace lora_dist
