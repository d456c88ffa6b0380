// The plain sum: slots in the order of the rank, ranks in whatever order the backend adds. The
// cheapest, and the last bits depend on the world size; chosen by `deterministic: false`.
#include "core/error.hpp"
#include "core/trace.hpp"
#include "dist/reducers/reducer.hpp"

namespace lora_dist {
namespace {

class AllReduceReducer final : public GradientReducer {
 public:
  explicit AllReduceReducer(const ReducerArgs& args)
      : world_(args.world), num_elements_(args.num_elements), device_(args.device) {}

  void begin_step(int64_t) override { sum_.reset(); }

  void add(int64_t, at::Tensor gradient) override {
    LD_CHECK(gradient.scalar_type() == at::kFloat && gradient.numel() == num_elements_,
             "a slot's gradient is the flat fp32 buffer");
    sum_ = sum_.defined() ? sum_.add_(gradient) : std::move(gradient);
  }

  at::Tensor finalize() override {
    const trace::Span span("reduction");
    if (!sum_.defined())
      sum_ = at::zeros({num_elements_}, at::TensorOptions(at::kFloat).device(device_));
    world_.all_reduce(sum_, {.name = "adapter gradient"}).wait();
    return std::move(sum_);
  }

 private:
  Communicator& world_;
  const int64_t num_elements_;
  const at::Device device_;
  at::Tensor sum_;
};

}  // namespace

std::unique_ptr<GradientReducer> make_all_reduce_reducer(const ReducerArgs& args) {
  return std::make_unique<AllReduceReducer>(args);
}

}  // namespace lora_dist
