#include "data/weights/base_fingerprint.hpp"

#include "core/base/sha256.hpp"

namespace lora_dist {

std::string base_fingerprint(const nlohmann::ordered_json& config, WeightSource& files) {
  constexpr size_t kSampleBytes = 64;
  Sha256 hash;
  hash.update(config.dump());
  const std::vector<WeightInfo>& weights = files.weights();
  for (size_t i = 0; i < weights.size(); ++i) {
    // ATen's names of plain formats: those that runs before the packed ones wrote down.
    const StoredFormat& format = *weights[i].format;
    hash.update(fmt::format("{} {} {}\n", weights[i].name,
                            format.plain ? at::toString(*format.plain) : format.name,
                            fmt::join(weights[i].shape, ",")));
    const at::Tensor weight = files.acquire(i).stored();
    const size_t size = std::min(kSampleBytes, weight.nbytes());
    hash.update(static_cast<const char*>(weight.const_data_ptr()) + (weight.nbytes() - size) / 2,
                size);
    files.release(i);
  }
  return hash.hex();
}

}  // namespace lora_dist
