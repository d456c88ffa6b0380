// A base model as a page of 80 columns.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/base/units.hpp"
#include "data/inspect/text_parts.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

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

}  // namespace

std::string base_model_text(const Json& it, bool all) {
  return model_lines(it) + weights_lines(it) + tokenizer_lines(it) +
         (all ? tensor_table(it["tensors"]) : kind_table(it["tensor_kinds"]));
}

}  // namespace lora_dist
