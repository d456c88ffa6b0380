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

/// Elements [first, end) of the flat buffer, which learn at `rate_factor` times the learning rate.
struct ParameterGroup {
  int64_t first = 0, end = 0;
  double rate_factor = 1;
  bool operator==(const ParameterGroup&) const = default;
};

class TrainableParams {
 public:
  struct Entry : ModuleRole {
    std::vector<int64_t> shape;
    int64_t offset = 0;  // elements from the start of the flat buffer
    int64_t num_elements = 0;
    double rate_factor = 1;  // of the learning rate
    int64_t end() const { return offset + num_elements; }
  };

  /// Adds a tensor before allocate(); returns its index.
  size_t add(ModuleRole place, std::vector<int64_t> shape, double rate_factor = 1);
  /// Makes the flat buffers, zeroed. On a GPU the gradient's stays where it is, so that recorded
  /// kernels find it.
  void allocate(at::Device device) { allocate(device, /*gradient_stays=*/!device.is_cpu()); }
  void allocate(at::Device device, bool gradient_stays);

  const std::vector<Entry>& entries() const { return entries_; }
  int64_t num_elements() const { return num_elements_; }
  /// Neighbours that learn at one rate, from the first element to the last.
  std::vector<ParameterGroup> groups() const;

  const at::Tensor& flat() const { return flat_; }  // (P)
  const at::Tensor& gradient() const {
    return gradient_;
  }  // (P), what the backward of a slot adds to
  at::Tensor view(size_t index) const;
  at::Tensor gradient_view(size_t index) const;

  /// The gradient of the slot that just ran; the buffer starts again at zero.
  at::Tensor take_gradient();

  /// Copies on the host, in name order (the order of files and of the adapter's hash).
  NamedTensors named_tensors() const;
  /// Errors  ModelError naming the first tensor that is missing, misshaped or unknown. `where` is
  /// the file.
  void assign(const NamedTensors& tensors, const std::string& where);

 private:
  friend class GradientLoan;

  std::vector<Entry> entries_;
  int64_t num_elements_ = 0;
  at::Tensor flat_, gradient_;
  bool gradient_stays_ = false;
  int64_t gradient_end_ = std::numeric_limits<int64_t>::max();  // of what may be written
};

/// The gradient of a step's last slot in the hands of whoever sums it: written by the backward pass
/// from its end towards its start, final where close() says so, and nobody else's until the loan
/// ends. The buffer starts again at zero then.
class GradientLoan {
 public:
  explicit GradientLoan(TrainableParams& params) : params_(params) {}
  ~GradientLoan();
  GradientLoan(const GradientLoan&) = delete;
  GradientLoan& operator=(const GradientLoan&) = delete;

  const at::Tensor& gradient() const { return params_.gradient_; }
  /// Nobody writes from this element on: it is being summed. A view that reaches there is our own
  /// bug until the loan ends.
  void close(int64_t first_final_element) { params_.gradient_end_ = first_final_element; }

 private:
  TrainableParams& params_;
};

}  // namespace lora_dist
