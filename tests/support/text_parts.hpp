// Samples of text, as a part is written from them and read again.
#pragma once

#include <vector>

#include "core/samples/tokens.hpp"
#include "core/tasks/task_kind.hpp"
#include "data/shards/part_file.hpp"

namespace lora_dist {

inline SampleSchema text_schema_of(int64_t vocab_size) {
  return tasks().at(kTextGeneration).schema({.vocab_size = vocab_size});
}

inline PartContent text_content(const std::vector<Tokens>& samples, int64_t vocab_size = 50000) {
  PartContent content(text_schema_of(vocab_size));
  for (const Tokens& sample : samples) content.add(to_sample(sample));
  return content;
}

inline std::vector<Tokens> texts_in(const PartFile& part) {
  std::vector<Tokens> samples;
  for (int64_t i = 0; i < part.num_samples(); ++i) samples.push_back(tokens_of(part.read(i)));
  return samples;
}

}  // namespace lora_dist
