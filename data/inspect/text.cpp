// Inspections for a person: a headline, the facts, a table.
#include <algorithm>
#include <map>

#include "core/base/error.hpp"
#include "core/base/units.hpp"
#include "data/inspect/inspect.hpp"
#include "data/inspect/text_parts.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

std::string module_table(const Json& modules) {
  std::string text =
      fmt::format("  {:<50} {:>5} {:>8} {:>12} {:>12}\n", "module", "rank", "scale", "|A|", "|B|");
  for (const Json& module : modules)
    text += fmt::format("  {:<50} {:>5} {:>8.4g} {:>12.6g} {:>12.6g}\n",
                        printable(module["name"].get<std::string>(), 256),
                        module["lora_rank"].get<int64_t>(), module["scale"].get<double>(),
                        module["norm_a"].get<double>(), module["norm_b"].get<double>());
  return text;
}

std::string weights_text(const Json& it, bool) {
  return fields(it, {"kind", "path", "tensors"}) + tensor_table(it["tensors"]);
}

std::string adapter_text(const Json& it, bool) {
  return fields(it, {"kind", "path", "modules"}) + module_table(it["modules"]);
}

std::string verdict(const Json& checkpoint) {
  return checkpoint["verified"].get<bool>() ? "verified"
                                            : "does not verify: " + plain(checkpoint["reason"]);
}

std::string checkpoint_text(const Json& it, bool) {
  std::string text = fields(it, {"kind", "path", "files", "fingerprints", "verified", "reason"}) +
                     field("state", verdict(it));
  if (it.contains("files"))
    for (const Json& file : it["files"])
      text += field(plain(file["name"]), bytes_text(file["bytes"].get<uint64_t>()));
  return text;
}

/// run.json without what programs compare; of a run in several lives their number.
std::string summary_text(const Json& run) {
  const size_t num_lives = run.contains("lives") ? run["lives"].size() : 1;
  return fields(run, {"fingerprints", "lease_epoch", "lease_epoch_from_step", "lives"}) +
         (num_lives > 1 ? field("lives", std::to_string(num_lives)) : std::string());
}

std::string run_file_text(const Json& it, bool) { return summary_text(it["run"]); }

std::string metrics_text(const Json& it, bool) {
  return fields(it, {"kind", "path", "last_metrics"}) + "last logged step\n" +
         fields(it["last_metrics"]);
}

std::string run_text(const Json& it, bool) {
  std::string text;
  if (it["run"].is_object()) text += summary_text(it["run"]);
  if (it["last_metrics"].is_object()) text += "last logged step\n" + fields(it["last_metrics"]);
  if (it["adapter"].is_object())
    text += "adapter\n" + fields(it["adapter"], {"kind", "path", "modules"});
  if (!it["checkpoints"].empty()) text += "checkpoints\n";
  for (const Json& checkpoint : it["checkpoints"]) {
    const std::string path = checkpoint["path"].get<std::string>();
    text += field(printable(path.substr(path.rfind('/') + 1)), verdict(checkpoint));
  }
  return text;
}

std::string fields_text(const Json& it, bool) { return fields(it, {"kind", "path", "what"}); }

std::string counts_text(const Json& it) {
  return fmt::format("{} samples, {} tokens, {}", plain(it["samples"]), plain(it["tokens"]),
                     bytes_text(it["bytes"].get<uint64_t>()));
}

std::string prepared_text(const Json& it, bool) {
  std::string text = fields(it, {"kind", "path", "parts", "made_from"});
  for (const Json& part : it["parts"]) text += field(plain(part["file"]), counts_text(part));
  return text;
}

std::string prepared_sets_text(const Json& it, bool) {
  std::string text;
  for (const Json& set : it["sets"])
    text +=
        field(plain(set["name"]), counts_text(set) + ", cut at " + plain(set["max_seq_length"]));
  return text;
}

}  // namespace

std::string inspection_text(const Json& inspection, bool all) {
  static const std::map<std::string, std::pair<const char*, std::string (*)(const Json&, bool all)>>
      kKinds = {{"safetensors", {"safetensors file", weights_text}},
                {"base_model", {"base model", base_model_text}},
                {"adapter", {"LoRA adapter", adapter_text}},
                {"checkpoint", {"checkpoint", checkpoint_text}},
                {"run", {"run folder", run_text}},
                {"run_file", {"summary of a run", run_file_text}},
                {"metrics", {"metrics of a run", metrics_text}},
                {"data", {"data", data_text}},
                {"file", {"file", fields_text}},
                {"hdf5_part", {"part of prepared data", fields_text}},
                {"prepared", {"prepared data", prepared_text}},
                {"prepared_sets", {"sets of prepared data", prepared_sets_text}}};
  const auto kind = kKinds.find(inspection["kind"].get<std::string>());
  LD_CHECK(kind != kKinds.end(), "kind without a text");
  const auto& [noun, text] = kind->second;
  return fmt::format("{}: {}\n{}", inspection["path"].get<std::string>(),
                     inspection.value("what", noun), text(inspection, all));
}

}  // namespace lora_dist
