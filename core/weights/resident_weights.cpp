#include "core/weights/resident_weights.hpp"

namespace lora_dist {
namespace {

class ResidentWeights final : public WeightSource {
 public:
  ResidentWeights(WeightSource& source, at::Device device) : source_(source) {
    for (size_t i = 0; i < source.weights().size(); ++i) {
      copies_.push_back(source.acquire(i).copied_to(device));
      source.release(i);
    }
  }
  const std::string& location() const override { return source_.location(); }
  const std::vector<WeightInfo>& weights() const override { return source_.weights(); }
  StoredWeight acquire(size_t index) override { return copies_[index]; }

 private:
  WeightSource& source_;
  std::vector<StoredWeight> copies_;  // [index in weights()]
};

}  // namespace

std::unique_ptr<WeightSource> make_resident_weights(WeightSource& source, at::Device device) {
  return std::make_unique<ResidentWeights>(source, device);
}

}  // namespace lora_dist
