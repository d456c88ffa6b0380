#include "data/encoders/sample_encoder.hpp"

namespace lora_dist {

#define LORA_DIST_ENCODER(file, task) \
  std::unique_ptr<SampleEncoder> make_##file##_encoder(const EncoderParts& parts);
#include "data/encoders/encoders.def"
#undef LORA_DIST_ENCODER

const Registry<SampleEncoderFactory>& sample_encoders() {
  static const Registry<SampleEncoderFactory> registry("task_type", {
#define LORA_DIST_ENCODER(file, task) {task, make_##file##_encoder},
#include "data/encoders/encoders.def"
#undef LORA_DIST_ENCODER
                                                                    });
  return registry;
}

}  // namespace lora_dist
