// The ordered, named views of one flat buffer that learns, equal on every rank.
//
// The shared language of adapter, optimizer, reducer, checkpoint and export. fp32, contiguous, on
// the run's device.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "core/training/training_state.hpp"

namespace lora_dist {

class TrainableParams {
 public:
  struct Entry {
    std::string name;  // key in adapter_model.safetensors
    std::vector<int64_t> shape;
    int64_t offset = 0;  // elements from the start of the flat buffer
    int64_t num_elements = 0;
    int64_t end() const { return offset + num_elements; }
  };

  /// Adds a tensor before allocate(); returns its index.
  size_t add(std::string name, std::vector<int64_t> shape);
  /// Makes the flat buffers, zeroed. On a GPU the gradient's stays where it is, so that recorded
  /// kernels find it.
  void allocate(at::Device device) { allocate(device, /*gradient_stays=*/!device.is_cpu()); }
  void allocate(at::Device device, bool gradient_stays);

  const std::vector<Entry>& entries() const { return entries_; }
  int64_t num_elements() const { return num_elements_; }

  const at::Tensor& flat() const { return flat_; }  // (P)
  const at::Tensor& gradient() const {
    return gradient_;
  }  // (P), what the backward of a slot adds to
  at::Tensor view(size_t index) const;
  at::Tensor gradient_view(size_t index) const;

  /// Nobody writes to the gradient from this element on: it is being summed. A view that reaches
  /// there is our own bug until take_gradient() or lend_gradient().
  void close_gradient(int64_t first_final_element) { gradient_end_ = first_final_element; }
  /// The gradient of the slot that just ran; the buffer starts again at zero.
  at::Tensor take_gradient();
  /// Of the slot that just ran, too, but whoever has gradient() keeps it: that tensor is not
  /// touched before take_back_gradient(), which comes before the next slot.
  void lend_gradient();
  /// What was lent is not needed any more; the buffer starts again at zero.
  void take_back_gradient();

  /// Copies on the host, in name order (the order of files and of the adapter's hash).
  NamedTensors named_tensors() const;
  /// Errors  ModelError naming the first tensor that is missing, misshaped or unknown. `where` is
  /// the file.
  void assign(const NamedTensors& tensors, const std::string& where);

 private:
  std::vector<Entry> entries_;
  int64_t num_elements_ = 0;
  at::Tensor flat_, gradient_;
  bool gradient_stays_ = false, is_lent_ = false;
  int64_t gradient_end_ = std::numeric_limits<int64_t>::max();  // of what may be written
};

/// SHA-256 over trainable tensors in name order, as `run.json` records it (design 1.4).
std::string adapter_sha256(const NamedTensors& tensors);

}  // namespace lora_dist
