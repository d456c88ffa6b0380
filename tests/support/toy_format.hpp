// A packed format that only tests know, and weights that are stored in it.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "core/sockets/weight_source.hpp"

namespace lora_dist {

/// Blocks of whole numbers of 8 bits behind a scale in fp16. Remembers the most elements that were
/// decoded at once.
class ToyFormat {
 public:
  explicit ToyFormat(int64_t block_elements = 32) {
    format_.name = "TOY8";
    format_.block_elements = block_elements;
    format_.block_bytes = 2 + block_elements;
    format_.decode = [this](const at::Tensor& bytes_RB, at::Tensor values_RC) {
      decode(bytes_RB, values_RC);
    };
  }
  ToyFormat(const ToyFormat&) = delete;
  ToyFormat& operator=(const ToyFormat&) = delete;

  const StoredFormat& format() const { return format_; }
  int64_t most_decoded() const { return most_decoded_; }
  void forget() { most_decoded_ = 0; }

 private:
  void decode(const at::Tensor& bytes_RB, at::Tensor values_RC) {
    const int64_t decoded = values_RC.numel();
    for (int64_t most = most_decoded_;
         most < decoded && !most_decoded_.compare_exchange_weak(most, decoded);) {
    }
    const int64_t block = format_.block_elements;
    const at::Tensor blocks = bytes_RB.unflatten(1, {-1, format_.block_bytes});
    const at::Tensor scales = blocks.narrow(2, 0, 2).contiguous().view(at::kHalf).to(at::kFloat),
                     numbers =
                         blocks.narrow(2, 2, block).contiguous().view(at::kChar).to(at::kFloat);
    values_RC.copy_((numbers * scales).flatten(1));
  }

  StoredFormat format_;
  std::atomic<int64_t> most_decoded_ = 0;
};

/// A matrix that was drawn, as it is stored and as numbers.
struct ToyMatrix {
  at::Tensor bytes_RB, values_RC;

  ToyMatrix(const ToyFormat& toy, int64_t rows, int64_t columns) {
    const int64_t block = toy.format().block_elements;
    const at::Tensor numbers = at::randint(-127, 128, {rows, columns / block, block}, at::kChar),
                     scales = (at::rand({rows, columns / block, 1}) / 1000).to(at::kHalf);
    bytes_RB = at::cat({scales.view(at::kByte), numbers.view(at::kByte)}, 2).flatten(1);
    values_RC = (numbers.to(at::kFloat) * scales.to(at::kFloat)).flatten(1);
  }
};

/// One matrix twice: packed, and plain in fp32.
class ToyWeights final : public WeightSource {
 public:
  static constexpr size_t kPacked = 0, kPlain = 1;

  ToyWeights(const ToyFormat& toy, int64_t rows, int64_t columns) : matrix_(toy, rows, columns) {
    weights_ = {{"packed.weight", &toy.format(), {rows, columns}},
                {"plain.weight", &plain_format(at::kFloat), {rows, columns}}};
  }
  const std::string& location() const override { return location_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  StoredWeight acquire(size_t index) override {
    if (index == kPlain) return matrix_.values_RC;
    return StoredWeight::of_bytes(matrix_.bytes_RB, weights_[index]);
  }
  const ToyMatrix& matrix() const { return matrix_; }

 private:
  std::string location_ = "toys";
  ToyMatrix matrix_;
  std::vector<WeightInfo> weights_;
};

}  // namespace lora_dist
