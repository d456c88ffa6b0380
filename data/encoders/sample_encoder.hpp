// From the records of a user's files to the samples of a task, one task per file of this folder.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/registry.hpp"
#include "core/samples/sample.hpp"
#include "core/tasks/task_kind.hpp"
#include "data/shards/part_file.hpp"
#include "data/sources/source.hpp"
#include "data/templates/template.hpp"

namespace lora_dist {

struct EncodedRecord {
  std::vector<Sample> samples;  // of text one; of a document as many as it needs
  int64_t full_length = 0;      // before cutting
  bool cut = false;
  std::vector<std::string> notes;  // as Record::notes: what was left out
};

class SampleEncoder {
 public:
  virtual ~SampleEncoder() = default;
  /// That of its task, with the limits of the run.
  virtual const SampleSchema& schema() const = 0;
  /// Errors  DataError: the record is none of this task, or exceeds a limit that it must not.
  virtual EncodedRecord encode(const Record& record) const = 0;
  /// Says of a record that gave a sample without loss terms what is wrong with it.
  virtual std::string why_nothing_is_learnt(const EncodedRecord& encoded) const = 0;
  /// Adds what the samples depend on beside the records, SampleSchema::origins among it. Where it
  /// changes, the data are prepared anew.
  virtual void describe(nlohmann::ordered_json& made_from) const = 0;
  /// Holds a part that the user brings against this run. False where the part does not say what it
  /// was made with. Errors  DataError: made with something else, or not for this base.
  virtual bool check(const PartFile& part) const = 0;
  /// What to say where check() was false for so many of the parts.
  virtual std::string warn_of_unchecked(int64_t num_unchecked, size_t num_parts) const = 0;
};

/// What a run makes samples with. Tokenizer and template may be null where the records need none.
struct EncoderParts {
  const Tokenizer* tokenizer = nullptr;
  const PromptTemplate* prompt_template = nullptr;
  SampleLimits limits;
  bool train_on_prompt = false;
  bool skip_broken_records = false;
};
using SampleEncoderFactory = std::unique_ptr<SampleEncoder> (*)(const EncoderParts& parts);

/// By the names of tasks.def.
const Registry<SampleEncoderFactory>& sample_encoders();

}  // namespace lora_dist
