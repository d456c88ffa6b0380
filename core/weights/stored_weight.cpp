#include "core/weights/stored_weight.hpp"

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

/// Bytes of `elements` of a row, which end with a block.
int64_t bytes_of_blocks(const StoredFormat& format, int64_t elements) {
  LD_CHECK(elements % format.block_elements == 0,
           fmt::format("{} elements are no whole blocks of {}", elements, format.name));
  return elements / format.block_elements * format.block_bytes;
}

}  // namespace

int64_t stored_bytes(const WeightInfo& weight) {
  const StoredFormat& format = *weight.format;
  const int64_t row = weight.shape.empty() ? 1 : weight.shape.back();
  if (row % format.block_elements != 0)
    throw ModelError({.where = weight.name,
                      .found = fmt::format("stored as {} in rows of {}", format.name, row),
                      .expected = fmt::format("a multiple of {}", format.block_elements),
                      .fix = "take a base that stores it otherwise"});
  return c10::multiply_integers(weight.shape) / format.block_elements * format.block_bytes;
}

StoredWeight::StoredWeight(const StoredFormat& format, at::Tensor bytes_RB)
    : tensor_(std::move(bytes_RB)), packed_(&format) {
  LD_CHECK(!format.plain && tensor_.dim() == 2 && tensor_.scalar_type() == at::kByte &&
               tensor_.size(1) % format.block_bytes == 0,
           fmt::format("these are no rows of {}", format.name));
}

StoredWeight StoredWeight::of_bytes(const at::Tensor& bytes, const WeightInfo& weight) {
  const StoredFormat& format = *weight.format;
  if (format.plain) return bytes.view(*format.plain).view(weight.shape);
  if (weight.shape.size() != 2)
    throw ModelError(
        {.where = weight.name,
         .found = fmt::format("stored as {} with {} dimensions", format.name, weight.shape.size()),
         .expected = "2: only matrices are packed",
         .fix = "take a base that stores it otherwise"});
  return {format, bytes.view({weight.shape[0], bytes_of_blocks(format, weight.shape[1])})};
}

const at::Tensor& StoredWeight::as_tensor() const {
  LD_CHECK(is_plain(), fmt::format("a weight of {} is no tensor", packed_->name));
  return tensor_;
}

void StoredWeight::decode(int64_t row, int64_t column, at::Tensor target_PQ) const {
  const int64_t rows = target_PQ.size(0), columns = target_PQ.size(1);
  const at::Tensor own = tensor_.narrow(0, row, rows);
  if (is_plain()) {
    target_PQ.copy_(own.narrow(1, column, columns));
  } else {
    packed_->decode(
        own.narrow(1, bytes_of_blocks(*packed_, column), bytes_of_blocks(*packed_, columns)),
        target_PQ);
  }
}

at::Tensor StoredWeight::rows(int64_t first, int64_t count, at::ScalarType dtype) const {
  if (is_plain()) return tensor_.narrow(0, first, count).to(dtype);
  const at::Tensor values = at::empty({count, size(1)}, tensor_.options().dtype(dtype));
  decode(first, 0, values);
  return values;
}

at::Tensor StoredWeight::gather_rows(const at::Tensor& index_N, at::ScalarType dtype) const {
  const at::Tensor own = at::index_select(tensor_, 0, index_N);
  if (is_plain()) return own.to(dtype);
  return StoredWeight(*packed_, own).rows(0, own.size(0), dtype);
}

StoredWeight StoredWeight::copied_to(at::Device device) const {
  StoredWeight copy = *this;
  copy.tensor_ = tensor_.to(at::TensorOptions(device), /*non_blocking=*/false, /*copy=*/true);
  return copy;
}

}  // namespace lora_dist
