// Two tasks that the program does not have, as far as their data: pictures of several shapes, and
// pairs of answers. What they need of samples, parts, encoders and streams is tested with them.
#pragma once

#include <string>

#include "core/samples/tokens.hpp"
#include "data/encoders/sample_encoder.hpp"

namespace lora_dist {

/// Latents of C crops of a picture (C, H, W), and a caption in V variants.
enum PictureColumn : size_t { kSize, kLatents, kCaptions, kVariants };

inline SampleMeasure measure_picture(SampleView sample) {
  const auto* size = sample[kSize].as<int32_t>();
  return {.cost = 1, .loss_terms = 1, .bucket = size[0] * 1000 + size[1]};
}

/// Of crops and of variants each slot takes others.
inline Batch collate_pictures(const std::vector<Sample>& samples, const Slot& slot) {
  std::vector<at::Tensor> latents, captions;
  for (const Sample& sample : samples) {
    const auto* size = sample.values[kSize].const_data_ptr<int32_t>();
    const at::Tensor crops = sample.values[kLatents].view({-1, size[0], size[1]});
    latents.push_back(crops[slot.index % crops.size(0)]);
    const at::Tensor variants = sample.values[kVariants];
    const int64_t variant = slot.index % variants.numel();
    captions.push_back(
        sample.values[kCaptions].narrow(0, variants.narrow(0, 0, variant).sum().item<int64_t>(),
                                        variants[variant].item<int64_t>()));
  }
  const auto count = static_cast<int64_t>(samples.size());
  return {.columns = {{"latents", at::stack(latents)}, {"captions", at::cat(captions)}},
          .loss_terms = count,
          .cost = count};
}

inline SampleSchema picture_schema() {
  return {.task = "toy-pictures",
          .columns = {{.name = "size", .dtype = at::kInt, .element = {2}, .measured = true},
                      {.name = "latents", .dtype = at::kHalf, .offsets = "latent_offsets"},
                      {.name = "captions",
                       .dtype = at::kInt,
                       .offsets = "caption_offsets",
                       .num_values = 1000},
                      {.name = "variants", .dtype = at::kInt, .offsets = "variant_offsets"}},
          .origins = {"vae_sha256"},
          .measure = measure_picture,
          .collate = collate_pictures};
}

/// A record "3x2" is a picture of that shape with as many crops as it is wide.
class PictureEncoder final : public SampleEncoder {
 public:
  const SampleSchema& schema() const override { return schema_; }
  EncodedRecord encode(const Record& record) const override {
    ++num_encoded;
    const int64_t height = record.text[0] - '0', width = record.text[2] - '0';
    const int64_t crops = width;
    const at::Tensor latents = at::arange(crops * height * width).to(at::kHalf).div(8);
    return {.samples = {{{at::tensor({height, width}, at::kInt), latents,
                          at::tensor({5, 6, 7}, at::kInt), at::tensor({2, 1}, at::kInt)}}},
            .full_length = 1};
  }
  std::string why_nothing_is_learnt(const EncodedRecord&) const override { return "a picture"; }
  void describe(nlohmann::ordered_json& made_from) const override { made_from["vae_sha256"] = "v"; }
  bool check(const PartFile& part) const override {
    return part.attributes().origin("vae_sha256") == "v";
  }
  std::string warn_of_unchecked(int64_t, size_t) const override { return "another VAE"; }

  mutable int64_t num_encoded = 0;

 private:
  SampleSchema schema_ = picture_schema();
};

inline SampleMeasure measure_pair(SampleView sample) {
  return {.cost = sample[0].num_elements + sample[2].num_elements, .loss_terms = 1};
}

/// Two rows for each pair, the chosen answer before the rejected one.
inline Batch collate_pairs(const std::vector<Sample>& samples, const Slot& slot) {
  Batch batch{.loss_terms = std::ssize(samples)};
  at::Tensor tokens_BT = at::zeros({2 * std::ssize(samples), slot.padded_length}, at::kLong);
  for (int64_t row = 0; row < tokens_BT.size(0); ++row) {
    const at::Tensor& ids = samples[row / 2].values[row % 2 * 2];
    tokens_BT[row].narrow(0, 0, ids.numel()).copy_(ids);
    batch.cost += ids.numel();
  }
  batch.columns["tokens"] = tokens_BT;
  return batch;
}

inline SampleSchema pair_schema(int64_t vocab_size) {
  const auto ids = [&](const std::string& name, const std::string& offsets) {
    return Column{.name = name, .dtype = at::kInt, .offsets = offsets, .num_values = vocab_size};
  };
  const auto mask = [](const std::string& name, const std::string& offsets) {
    return Column{.name = name, .dtype = at::kByte, .offsets = offsets};
  };
  return {
      .task = "toy-pairs",
      .columns = {ids("chosen", "chosen_offsets"), mask("chosen_mask", "chosen_offsets"),
                  ids("rejected", "rejected_offsets"), mask("rejected_mask", "rejected_offsets")},
      .measure = measure_pair,
      .collate = collate_pairs};
}

}  // namespace lora_dist
