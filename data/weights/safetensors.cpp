#include "data/weights/safetensors.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <sys/mman.h>
#include <sys/stat.h>

#include "core/base/error.hpp"
#include "data/io/printable.hpp"
#include "data/weights/safetensors_header.hpp"

namespace lora_dist {
namespace {

/// A whole file, mapped read-only for as long as this lives. Pages belong to the page cache: all
/// ranks of a host share one copy.
class Mapping {
 public:
  explicit Mapping(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
      if (errno == ENOENT) throw StorageError({path, "no such file", {}, {}});
      fail(path, errno);
    }
    struct stat info {};
    int error = ::fstat(descriptor, &info) < 0 ? errno : 0;
    const bool is_regular = S_ISREG(info.st_mode);
    size_ = is_regular ? static_cast<size_t>(info.st_size) : 0;
    if (error == 0 && size_ > 0) {
      data_ = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
      if (data_ == MAP_FAILED) error = errno;
    }
    ::close(descriptor);
    if (error != 0) fail(path, error);
    if (!is_regular) throw StorageError({path, "is no regular file", "a safetensors file", {}});
  }
  ~Mapping() {
    if (size_ > 0) ::munmap(data_, size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  char* data() const { return static_cast<char*>(data_); }
  std::string_view bytes() const { return {data(), size_}; }

  /// Whole pages around `begin` .. `end` go; a neighbour's part of them is read again when it is
  /// needed. Advice: it is no error when the kernel does not take it.
  void release(size_t begin, size_t end) const {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    begin = begin / page * page;
    end = std::min((end + page - 1) / page * page, size_);
    if (begin < end) ::madvise(data() + begin, end - begin, MADV_DONTNEED);
  }

 private:
  [[noreturn]] static void fail(const std::string& path, int error) {
    throw StorageError(
        {path, fmt::format("cannot read ({})", std::generic_category().message(error)), {}, {}});
  }

  void* data_ = nullptr;
  size_t size_ = 0;
};

class MappedSafetensors final : public SafetensorsFile {
 public:
  explicit MappedSafetensors(const std::string& path)
      : path_(path),
        mapping_(std::make_shared<Mapping>(path)),
        header_(read_safetensors_header(mapping_->bytes(), path)) {}

  const std::string& path() const override { return path_; }
  const std::vector<WeightInfo>& weights() const override { return header_.weights; }
  const std::map<std::string, std::string>& metadata() const override { return header_.metadata; }

  at::Tensor tensor(size_t index) const override {
    const WeightInfo& info = header_.weights.at(index);
    const auto options = at::TensorOptions().dtype(*info.format->plain);
    const uint64_t size = num_bytes(info);
    if (size == 0) return at::empty(info.shape, options);
    char* data = mapping_->data() + header_.begins[index];
    if (reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(info.format->block_bytes) != 0) {
      at::Tensor copy = at::empty(info.shape, options);
      std::copy_n(data, size, static_cast<char*>(copy.data_ptr()));
      return copy;
    }
    return at::from_blob(
        data, info.shape, [keep = mapping_](void*) {}, options);
  }

  void release(size_t index) const override {
    const size_t begin = header_.begins.at(index);
    mapping_->release(begin, begin + num_bytes(header_.weights[index]));
  }

  at::Tensor tensor(const std::string& name) const override {
    const size_t index = index_of(name);
    if (index == header_.weights.size())
      throw ModelError(
          {path_, fmt::format("tensor '{}' is missing", printable(name, 256)), {}, {}});
    return tensor(index);
  }

  bool contains(const std::string& name) const override {
    return index_of(name) < header_.weights.size();
  }

 private:
  /// Position of `name`, or the number of weights.
  size_t index_of(const std::string& name) const {
    const auto& weights = header_.weights;
    const auto found = std::lower_bound(
        weights.begin(), weights.end(), name,
        [](const WeightInfo& info, const std::string& wanted) { return info.name < wanted; });
    if (found == weights.end() || found->name != name) return weights.size();
    return static_cast<size_t>(found - weights.begin());
  }

  std::string path_;
  std::shared_ptr<Mapping> mapping_;
  SafetensorsHeader header_;
};

}  // namespace

std::shared_ptr<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  return std::make_shared<MappedSafetensors>(path);
}

uint64_t num_bytes(const WeightInfo& info) { return static_cast<uint64_t>(stored_bytes(info)); }

void require_finite(const std::string& where, const std::string& name, const at::Tensor& tensor) {
  if (!at::isFloatingType(tensor.scalar_type())) return;
  const at::Tensor values = tensor.to(at::kFloat).flatten();
  const at::Tensor finite = values.isfinite();
  if (finite.all().item<bool>()) return;
  const int64_t first = finite.logical_not().nonzero()[0].item<int64_t>();
  const bool is_nan = values[first].isnan().item<bool>();
  std::vector<int64_t> place(tensor.dim());
  int64_t rest = first;
  for (int64_t dim = tensor.dim() - 1; dim >= 0; --dim) {
    place[dim] = rest % tensor.size(dim);
    rest /= tensor.size(dim);
  }
  throw ModelError({where,
                    fmt::format("tensor '{}' holds {} at [{}]", printable(name, 256),
                                is_nan ? "NaN" : "infinity", fmt::join(place, ", ")),
                    {},
                    "download again"});
}

void require_finite(WeightSource& base) {
  for (size_t i = 0; i < base.weights().size(); ++i)
    require_finite(base.location(), base.weights()[i].name, base.acquire(i).values());
}

}  // namespace lora_dist
