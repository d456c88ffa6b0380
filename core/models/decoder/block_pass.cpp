#include "core/models/decoder/block_pass.hpp"

#include <algorithm>
#include <limits>

#include "core/base/error.hpp"
#include "core/base/trace.hpp"

namespace lora_dist {

at::Tensor PlainPass::forward(int64_t layer, const at::Tensor& x_ND) {
  BlockActivations& saved = saved_[layer];
  if (layer < plan_.lowest_learning || plan_.recompute) {
    if (layer >= plan_.lowest_learning) saved.input_ND = x_ND;
    return blocks_[layer].forward(x_ND, context_, nullptr, nullptr);
  }
  return blocks_[layer].forward(x_ND, context_, &saved, nullptr);
}

void PlainPass::backward(int64_t layer, at::Tensor& dout_ND) {
  blocks_[layer].backward(dout_ND, context_, saved_[layer],
                          /*need_dx=*/layer > plan_.lowest_learning);
}

/// What recorded kernels were told by value, or sizes that their tensors have.
struct RecordedPasses::Shape {
  int64_t batch, tokens;
  int64_t num_samples;  // of packed rows on a GPU, empty ones among them
  bool packed, training, deterministic;
  uint64_t seed;
  std::optional<std::vector<ActiveAdapter>> adapters;
  BlockPlan plan;

  static Shape of(const SequenceContext& context, const BlockPlan& plan) {
    const at::Tensor& first_rows = context.samples.first_rows;
    return {.batch = context.batch,
            .tokens = context.tokens,
            .num_samples = first_rows.defined() ? first_rows.numel() : 0,
            .packed = context.starts_BT.defined(),
            .training = context.pass.training,
            .deterministic = context.deterministic,
            .seed = context.pass.seed,
            .adapters = context.pass.adapters,
            .plan = plan};
  }
  bool operator==(const Shape&) const = default;
};

namespace {

at::Tensor place_like(const at::Tensor& x, at::Device device) {
  return x.defined() ? at::empty(x.sizes(), x.options().device(device)) : at::Tensor();
}

}  // namespace

/// `context` in memory of its own, which the next micro-batch of the shape can be copied into.
class RecordedPasses::StaticContext {
 public:
  explicit StaticContext(const SequenceContext& context)
      : device_(context.rotation->cos_TH.device()),
        rotation_(*context.rotation),
        context_(context) {
    context_.rotation = &rotation_;
    // Not to be read by any kernel, so they are numbers of no micro-batch.
    context_.pass.step = context_.pass.slot = std::numeric_limits<uint32_t>::max();
    context_.pass.step_and_slot = at::empty({2}, at::TensorOptions(device_).dtype(at::kInt));
    if (has_own_rotation()) {
      rotation_.cos_TH = place_like(rotation_.cos_TH, device_);
      rotation_.sin_TH = place_like(rotation_.sin_TH, device_);
    }
    if (!is_packed()) return;
    context_.starts_BT = place_like(context_.starts_BT, device_);
    context_.samples = {place_like(context_.samples.first_rows, device_), context_.tokens};
  }
  StaticContext(const StaticContext&) = delete;  // the context points at the rotation
  StaticContext& operator=(const StaticContext&) = delete;

  const SequenceContext& context() const { return context_; }

  void assign(const SequenceContext& context) {
    const std::vector<int32_t> numbers = {static_cast<int32_t>(context.pass.step),
                                          static_cast<int32_t>(context.pass.slot)};
    context_.pass.step_and_slot.copy_(at::tensor(numbers, at::kInt));
    if (has_own_rotation()) {
      rotation_.cos_TH.copy_(context.rotation->cos_TH);
      rotation_.sin_TH.copy_(context.rotation->sin_TH);
    }
    if (!is_packed()) return;
    context_.starts_BT.copy_(context.starts_BT);
    if (context_.samples.first_rows.defined())
      context_.samples.first_rows.copy_(context.samples.first_rows);
  }

 private:
  bool is_packed() const { return context_.starts_BT.defined(); }
  // Whether each micro-batch has another rotation: in packed rows, or where it follows from the
  // samples' lengths. A rotation by the place in the row is always the same.
  bool has_own_rotation() const { return is_packed() || context_.rotates_by_length; }

  at::Device device_;
  ops::Rotation rotation_;
  SequenceContext context_;
};

class RecordedPasses::Pass final : public BlockPass {
 public:
  Pass(RecordedPasses& all, const SequenceContext& context, const BlockPlan& plan)
      : all_(all),
        shape_(Shape::of(context, plan)),
        num_layers_(static_cast<int64_t>(all.blocks_.size())),
        inputs_(context),
        kernels_(all.blocks_, inputs_.context(), plan),
        forward_(all.blocks_.size()),
        backward_(all.blocks_.size()) {}

  const Shape& shape() const { return shape_; }

  void start(const SequenceContext& context) {
    inputs_.assign(context);
    if (++num_rounds_ <= 2) all_.recorder_->make_room();
  }

  /// Layers give their outputs to each other: x_ND is read for the first one, and what the last one
  /// returns is theirs.
  at::Tensor forward(int64_t layer, const at::Tensor& x_ND) override {
    if (layer == 0) {
      if (!input_ND_.defined()) {
        input_ND_ = all_.input_rows_.like(x_ND);
        output_ND_ = all_.output_rows_.like(x_ND);
      }
      input_ND_.copy_(x_ND);
    }
    run(forward_[layer], [this, layer] {
      running_ND_ = kernels_.forward(layer, layer == 0 ? input_ND_ : running_ND_);
      if (layer + 1 < num_layers_) return;
      output_ND_.copy_(running_ND_);  // where the head finds it, outside of the pool
      running_ND_.reset();
    });
    return output_ND_;
  }

  /// Likewise the gradients, in the place of the output, which nobody reads any more.
  void backward(int64_t layer, at::Tensor& dout_ND) override {
    if (layer + 1 == num_layers_) {
      output_ND_.copy_(dout_ND);
      dout_ND = output_ND_;
    }
    const void* place = output_ND_.const_data_ptr();
    run(backward_[layer], [this, layer] { kernels_.backward(layer, output_ND_); });
    LD_CHECK(output_ND_.const_data_ptr() == place, "a block's gradient is made in place");
  }

 private:
  void run(std::unique_ptr<ops::cuda::Graph>& graph, std::function<void()> work) {
    if (num_rounds_ == 1) return all_.recorder_->rehearse(work);
    if (!graph) graph = all_.recorder_->record(work);
    const trace::Span span("recorded block");
    graph->replay();
  }

  RecordedPasses& all_;
  const Shape shape_;
  const int64_t num_layers_;
  int64_t num_rounds_ = 0;
  StaticContext inputs_;
  PlainPass kernels_;
  at::Tensor input_ND_, output_ND_;
  at::Tensor running_ND_;  // from one layer to the next
  // [layer] Destroyed before the memory that they write to.
  std::vector<std::unique_ptr<ops::cuda::Graph>> forward_, backward_;
};

at::Tensor RecordedPasses::SharedRows::like(const at::Tensor& x_ND) {
  if (!rows_ND_.defined() || rows_ND_.size(0) < x_ND.size(0)) rows_ND_ = at::empty_like(x_ND);
  return rows_ND_.narrow(0, 0, x_ND.size(0));
}

RecordedPasses::RecordedPasses(std::vector<DecoderBlock>& blocks,
                               std::shared_ptr<ops::cuda::GraphRecorder> recorder)
    : blocks_(blocks), recorder_(std::move(recorder)) {}

RecordedPasses::~RecordedPasses() = default;

BlockPass& RecordedPasses::pass_for(const SequenceContext& context, const BlockPlan& plan) {
  const Shape shape = Shape::of(context, plan);
  const auto known = std::find_if(passes_.begin(), passes_.end(),
                                  [&](const auto& pass) { return pass->shape() == shape; });
  if (known != passes_.end()) {
    passes_.splice(passes_.begin(), passes_, known);
  } else {
    if (passes_.size() == kMostShapes) passes_.pop_back();
    passes_.push_front(std::make_unique<Pass>(*this, context, plan));
  }
  passes_.front()->start(context);
  return *passes_.front();
}

}  // namespace lora_dist
