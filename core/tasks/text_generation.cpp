#include "core/tasks/text_generation.hpp"

namespace lora_dist {
namespace {

class TextGeneration final : public Task {
 public:
  explicit TextGeneration(Decoder& model) : model_(model) {}
  double forward_backward(const Batch& batch, const PassContext& pass,
                          const GradientProgress& progress) override {
    return model_.forward_backward(text_batch_of(batch), pass, progress);
  }
  double loss(const Batch& batch) override { return model_.loss(text_batch_of(batch)); }
  void accompany(bool with_gradients, const GradientProgress& progress) override {
    model_.accompany(with_gradients, progress);
  }

 private:
  Decoder& model_;
};

}  // namespace

std::unique_ptr<Task> make_text_generation_task(Decoder& model) {
  return std::make_unique<TextGeneration>(model);
}

}  // namespace lora_dist
