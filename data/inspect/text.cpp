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

std::string weights_text(const Json& it, bool) {
  return fields(it, {"kind", "path", "tensors"}) + tensor_table(it["tensors"]);
}

// --- a base model as a page of 80 columns

constexpr size_t kPageWidth = 80;
constexpr size_t kLabelWidth = 15;  // with the indentation

/// `text` behind its label, on as many lines as it takes.
std::string paragraph(const std::string& label, const std::string& text) {
  std::string result, line = fmt::format("  {:<{}}", label, kLabelWidth - 2);
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (line.size() + word.size() > kPageWidth && line.size() > kLabelWidth) {
      result += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
      line = std::string(kLabelWidth, ' ');
    }
    line += word + " ";
    begin = end + 1;
  }
  return result + line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

std::string model_lines(const Json& it) {
  const Json& model = it["model"];
  const std::string family =
      it.contains("model_type") ? plain(it["model_type"]) : std::string("unknown");
  if (model.contains("reason")) return paragraph("family", family + ": " + plain(model["reason"]));
  const auto number = [&](const char* key) { return model[key].get<int64_t>(); };
  std::string text =
      paragraph("family", fmt::format("{}, {} layers of width {}, feed-forward {} ({})", family,
                                      number("num_layers"), number("width"), number("feed_forward"),
                                      plain(model["activation"])));
  std::vector<std::string> windows;
  for (const Json& window : model["windows"])
    windows.push_back(window == 0 ? "all tokens before" : fmt::format("{} tokens", plain(window)));
  text += paragraph(
      "attention", fmt::format("{} heads of {}, {} for keys and values; sees {}", number("heads"),
                               number("head_dim"), number("kv_heads"), fmt::join(windows, " or ")));
  text += paragraph("positions", fmt::format("{}; rope type {}, theta {}{}", number("positions"),
                                             plain(model["rope"]), plain(model["rope_theta"]),
                                             model["rope_factor"] == 1.0
                                                 ? std::string()
                                                 : fmt::format(", factor {}, reaches {}",
                                                               plain(model["rope_factor"]),
                                                               number("rope_positions"))));
  text += paragraph(
      "head", model["tied_head"].get<bool>() ? "tied to the embedding" : "a matrix of its own");
  std::vector<std::string> layers;
  for (const Json& layer : model["linear_layers"]) layers.push_back(plain(layer));
  return text + paragraph("LoRA fits on", fmt::format("{}", fmt::join(layers, ", ")));
}

std::string weights_lines(const Json& it) {
  const auto parameters = it["parameters"].get<int64_t>();
  std::vector<std::string> shares;
  for (const auto& [dtype, count] : it["dtypes"].items())
    shares.push_back(fmt::format(
        "{} {:.4g} %", dtype,
        100.0 * count.get<double>() / static_cast<double>(std::max<int64_t>(1, parameters))));
  std::string text = paragraph(
      "parameters", fmt::format("{} in {} tensors, {}: {}", count_text(parameters),
                                it["num_tensors"].get<int64_t>(),
                                bytes_text(it["bytes"].get<uint64_t>()), fmt::join(shares, ", ")));
  const Json& files = it["files"];
  if (files.empty()) return text;
  return text + paragraph("files", files.size() == 1 ? plain(files[0]["name"])
                                                     : fmt::format("{}, {} to {}", files.size(),
                                                                   plain(files.front()["name"]),
                                                                   plain(files.back()["name"])));
}

std::string tokenizer_lines(const Json& it) {
  const Json& tokenizer = it["tokenizer"];
  if (tokenizer.contains("reason")) return paragraph("tokenizer", plain(tokenizer["reason"]));
  std::string vocabulary = fmt::format("{} tokens", tokenizer["vocab_size"].get<int64_t>());
  if (it.contains("vocab_size")) vocabulary += fmt::format(" of {}", plain(it["vocab_size"]));
  if (it["eos_ids"].is_array() && !it["eos_ids"].empty()) {
    std::vector<std::string> ids;
    for (const Json& id : it["eos_ids"]) ids.push_back(plain(id));
    vocabulary += fmt::format("; a text ends with {}", fmt::join(ids, " or "));
  }
  return paragraph("vocabulary", vocabulary) +
         paragraph("template", tokenizer["chat_template"].get<bool>()
                                   ? plain(tokenizer["template"])
                                   : "none in the tokenizer's files");
}

std::string kind_table(const Json& kinds) {
  std::string text = "  tensors      (each one with --all)\n";
  for (const Json& kind : kinds)
    text += fmt::format("  {:>5} x {:<5}{:<16} {}\n", kind["count"].get<int64_t>(),
                        plain(kind["dtype"]), kind["shape"].dump(),
                        printable(kind["name"].get<std::string>(), 256));
  return text;
}

std::string base_model_text(const Json& it, bool all) {
  return model_lines(it) + weights_lines(it) + tokenizer_lines(it) +
         (all ? tensor_table(it["tensors"]) : kind_table(it["tensor_kinds"]));
}

std::string adapter_text(const Json& it, bool) {
  return fields(it, {"kind", "path", "modules"}) + module_table(it["modules"]);
}

std::string verdict(const Json& checkpoint) {
  return checkpoint["verified"].get<bool>() ? "verified"
                                            : "does not verify: " + plain(checkpoint["reason"]);
}

std::string checkpoint_text(const Json& it, bool) {
  std::string text =
      fields(it, {"kind", "path", "files", "verified", "reason"}) + field("state", verdict(it));
  if (it.contains("files"))
    for (const Json& file : it["files"])
      text += field(plain(file["name"]), bytes_text(file["bytes"].get<uint64_t>()));
  return text;
}

std::string run_text(const Json& it, bool) {
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

std::string part_text(const Json& it, bool) { return fields(it, {"kind", "path"}); }

std::string prepared_text(const Json& it, bool) {
  std::string text = fields(it, {"kind", "path", "parts", "made_from"});
  for (const Json& part : it["parts"])
    text += fmt::format("  {:<22} {} samples, {} tokens, {}\n", plain(part["file"]),
                        plain(part["samples"]), plain(part["tokens"]),
                        bytes_text(part["bytes"].get<uint64_t>()));
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
                {"hdf5_part", {"part of prepared data", part_text}},
                {"prepared", {"prepared data", prepared_text}}};
  const auto kind = kKinds.find(inspection["kind"].get<std::string>());
  LD_CHECK(kind != kKinds.end(), "kind without a text");
  const auto& [noun, text] = kind->second;
  return fmt::format("{}: {}\n{}", inspection["path"].get<std::string>(), noun,
                     text(inspection, all));
}

}  // namespace lora_dist
