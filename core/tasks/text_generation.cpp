#include "core/tasks/text_generation.hpp"

#include "core/losses/loss.hpp"
#include "core/models/decoder/decoder_pass.hpp"

namespace lora_dist {
namespace {

class TextGeneration final : public Task {
 public:
  explicit TextGeneration(Decoder& model) : model_(model), loss_(losses().at("cross_entropy")()) {}

  double forward_backward(const Batch& batch, const PassContext& pass,
                          const GradientProgress& progress) override {
    const TextBatch texts = text_batch_of(batch);
    DecoderPass run(model_, texts, pass, /*with_gradients=*/true);
    run.forward();
    const at::Tensor sum = run.losses(*loss_).sum;
    run.backward(progress);
    return sum.item<double>();  // a GPU is waited for here, with the whole micro-batch before it
  }

  double loss(const Batch& batch, const PassContext& pass) override {
    const TextBatch texts = text_batch_of(batch);
    DecoderPass run(model_, texts, pass, /*with_gradients=*/false);
    run.forward();
    return run.losses(*loss_).sum.item<double>();
  }

  void accompany(bool with_gradients, const GradientProgress& progress) override {
    model_.accompany(with_gradients, progress);
  }

 private:
  Decoder& model_;
  std::unique_ptr<Loss> loss_;
};

}  // namespace

std::unique_ptr<Task> make_text_generation_task(Decoder& model) {
  return std::make_unique<TextGeneration>(model);
}

}  // namespace lora_dist
