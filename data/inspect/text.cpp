// Inspections for a person: a headline, the facts, a table.
#include <algorithm>
#include <map>

#include "core/error.hpp"
#include "core/units.hpp"
#include "data/inspect/inspect.hpp"
#include "data/json.hpp"
#include "data/printable.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

/// A value on one line: texts without quotes, nothing that drives a terminal.
std::string plain(const Json& value) {
  return printable(value.is_string() ? value.get<std::string>() : utf8_dump(value),
                   /*max_bytes=*/200);
}

std::string field(const std::string& name, const std::string& value) {
  return fmt::format("  {:<22} {}\n", name, value);
}

/// The members of `object` that are neither named in `hidden` nor empty.
std::string fields(const Json& object, std::initializer_list<std::string_view> hidden = {}) {
  std::string text;
  for (const auto& [name, value] : object.items()) {
    const bool is_hidden = std::find(hidden.begin(), hidden.end(), name) != hidden.end();
    const bool is_empty = value.is_null() || value == "" ||
                          ((value.is_array() || value.is_object()) && value.empty());
    if (!is_hidden && !is_empty)
      text += field(name, name == "bytes" ? bytes_text(value.get<uint64_t>()) : plain(value));
  }
  return text;
}

std::string tensor_table(const Json& tensors) {
  std::string text;
  for (const Json& tensor : tensors)
    text +=
        fmt::format("  {:<70} {:<5} {:<16} {}\n", printable(tensor["name"].get<std::string>(), 256),
                    tensor["dtype"].get<std::string>(), tensor["shape"].dump(),
                    bytes_text(tensor["bytes"].get<uint64_t>()));
  return text;
}

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

std::string weights_text(const Json& it) {
  return fields(it, {"kind", "path", "tensors"}) + tensor_table(it["tensors"]);
}

std::string adapter_text(const Json& it) {
  return fields(it, {"kind", "path", "modules"}) + module_table(it["modules"]);
}

std::string verdict(const Json& checkpoint) {
  return checkpoint["verified"].get<bool>() ? "verified"
                                            : "does not verify: " + plain(checkpoint["reason"]);
}

std::string checkpoint_text(const Json& it) {
  std::string text =
      fields(it, {"kind", "path", "files", "verified", "reason"}) + field("state", verdict(it));
  if (it.contains("files"))
    for (const Json& file : it["files"])
      text += field(plain(file["name"]), bytes_text(file["bytes"].get<uint64_t>()));
  return text;
}

std::string run_text(const Json& it) {
  std::string text;
  if (it["run"].is_object()) text += fields(it["run"]);
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

std::string part_text(const Json& it) { return fields(it, {"kind", "path"}); }

std::string prepared_text(const Json& it) {
  std::string text = fields(it, {"kind", "path", "parts", "made_from"});
  for (const Json& part : it["parts"])
    text += fmt::format("  {:<22} {} samples, {} tokens, {}\n", plain(part["file"]),
                        plain(part["samples"]), plain(part["tokens"]),
                        bytes_text(part["bytes"].get<uint64_t>()));
  return text;
}

}  // namespace

std::string inspection_text(const Json& inspection) {
  static const std::map<std::string, std::pair<const char*, std::string (*)(const Json&)>> kKinds =
      {{"safetensors", {"safetensors file", weights_text}},
       {"base_model", {"base model", weights_text}},
       {"adapter", {"LoRA adapter", adapter_text}},
       {"checkpoint", {"checkpoint", checkpoint_text}},
       {"run", {"run folder", run_text}},
       {"hdf5_part", {"part of prepared data", part_text}},
       {"prepared", {"prepared data", prepared_text}}};
  const auto kind = kKinds.find(inspection["kind"].get<std::string>());
  LD_CHECK(kind != kKinds.end(), "kind without a text");
  const auto& [noun, text] = kind->second;
  return fmt::format("{}: {}\n{}", inspection["path"].get<std::string>(), noun, text(inspection));
}

}  // namespace lora_dist
