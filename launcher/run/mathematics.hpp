// Which keys of the config decide what is learnt, and whether two runs learn the same.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/config/config.hpp"

namespace lora_dist {

/// The mark of a key in core/config/config.hpp; one that is not declared counts as mathematics.
KeyEffect effect_of(std::string_view key);

/// Whether the state of a checkpoint still fits after a change of the key: without it no resume is
/// possible, whatever is allowed.
bool state_fits_after_change_of(std::string_view key);

/// The keys that decide what is learnt, with their values as YAML text: part of a checkpoint's
/// fingerprints. Of several validation sets only the first steers. `global_batch_size` is the one
/// that results from `slots_per_step`; `gradient_accumulation_steps` is there where it was derived
/// from the number of ranks.
nlohmann::ordered_json mathematics_of(const Config& config, int64_t slots_per_step);

/// The fingerprints that a record (run.json) keeps, and the mathematics among them; empty where it
/// has none.
nlohmann::ordered_json fingerprints_of(const nlohmann::ordered_json& record);
const nlohmann::ordered_json& mathematics_in(const nlohmann::ordered_json& fingerprints);
/// Whether a fingerprint of text is the same; true where either side does not say.
bool has_same(const char* key, const nlohmann::ordered_json& saved,
              const nlohmann::ordered_json& asked);

struct ChangedKey {
  std::string key, saved, asked;  // values as YAML text
};
/// Keys in which two runs differ. One that either of them lacks (an older or a newer version) does
/// not count. A longer or shorter run differs where its steps depend on how many there will be; a
/// constant learning rate without evaluations that steer does not.
std::vector<ChangedKey> changed_keys(const nlohmann::ordered_json& saved,
                                     const nlohmann::ordered_json& asked);
/// Why a change of the key is another run, where that is not plain; else empty.
std::string why_it_counts(std::string_view key);

}  // namespace lora_dist
