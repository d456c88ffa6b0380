// README.md of the run folder, with the front matter that the Hugging Face Hub reads.
#include <algorithm>

#include "core/base/units.hpp"
#include "data/io/json.hpp"
#include "data/reports/reports.hpp"

namespace lora_dist {
namespace {

constexpr const char* kOrigin = "A LoRA adapter, trained with lora-dist";

/// A YAML double-quoted scalar is a superset of a JSON string, and so is a Python one.
std::string quoted(const std::string& text) { return utf8_dump(text); }

std::string front_matter(const ModelCard& card) {
  return fmt::format(
      "---\n"
      "base_model: {}\n"
      "library_name: peft\n"
      "pipeline_tag: text-generation\n"
      "tags:\n"
      "- lora\n"
      "- lora-dist\n"
      "---\n",
      quoted(card.base_model));
}

/// A code block whose fence is longer than any row of back ticks in it.
std::string code_block(const char* language, const std::string& text) {
  size_t longest = 2, row = 0;
  for (const char c : text) {
    row = c == '`' ? row + 1 : 0;
    longest = std::max(longest, row);
  }
  const std::string fence(longest + 1, '`');
  const char* end = text.empty() || text.back() == '\n' ? "" : "\n";
  return fmt::format("{}{}\n{}{}{}\n", fence, language, text, end, fence);
}

std::string as_code(const std::string& text) {
  return text.empty() || text.find('`') != std::string::npos ? text : "`" + text + "`";
}

/// The text of `life[key]`, or "".
std::string text_of(const nlohmann::ordered_json& life, const char* key) {
  return life.is_object() && life.contains(key) && life[key].is_string()
             ? life[key].get<std::string>()
             : "";
}

/// "4 ranks: 2 on a, 2 on b", in the order of the ranks.
std::string ranks_text(const nlohmann::ordered_json& life) {
  if (!life.is_object() || !life.contains("hosts") || !life["hosts"].is_array()) return {};
  std::vector<std::pair<std::string, int>> hosts;
  for (const auto& entry : life["hosts"]) {
    const std::string host = entry.is_string() ? entry.get<std::string>() : "";
    const auto known = std::find_if(hosts.begin(), hosts.end(),
                                    [&](const auto& counted) { return counted.first == host; });
    if (known == hosts.end())
      hosts.emplace_back(host, 1);
    else
      ++known->second;
  }
  const size_t num_ranks = life["hosts"].size();
  std::vector<std::string> parts;
  for (const auto& [host, count] : hosts)
    parts.push_back(hosts.size() == 1 ? host : fmt::format("{} on {}", count, host));
  return fmt::format("{} rank{}{}{}", num_ranks, num_ranks == 1 ? "" : "s",
                     hosts.size() == 1 ? " on " : ": ", fmt::join(parts, ", "));
}

std::string data_text(const ModelCard& card) {
  if (card.data.empty()) return {};
  std::string text = as_code(card.data);
  if (card.num_samples > 0) text += fmt::format(", {} samples", card.num_samples);
  if (card.num_cut > 0) text += fmt::format(", {} cut to max_seq_length", card.num_cut);
  if (card.num_skipped > 0) text += fmt::format(", {} broken records skipped", card.num_skipped);
  if (card.num_held_out > 0) text += fmt::format("; {} held out", card.num_held_out);
  return text;
}

std::string git_text(const nlohmann::ordered_json& life) {
  if (!life.is_object() || !life.contains("git")) return {};
  const std::string branch = text_of(life["git"], "branch");
  return as_code(text_of(life["git"], "commit")) + (branch.empty() ? "" : " (" + branch + ")");
}

std::string facts(const ModelCard& card) {
  std::string table = "| | |\n|---|---|\n";
  const auto row = [&](const char* name, std::string value) {
    if (value.empty()) return;
    for (size_t at = 0; (at = value.find('|', at)) != std::string::npos; at += 2)
      value.insert(at, "\\");
    std::replace(value.begin(), value.end(), '\n', ' ');
    table += fmt::format("| {} | {} |\n", name, value);
  };
  const RunSummary& run = card.summary;
  row("Base model", as_code(card.base_model));
  row("Training data", data_text(card));
  row("Prompt template", card.template_name);
  row("Trainable parameters", fmt::format("{}", card.trainable_parameters));
  row("Steps", fmt::format("{} ({:.2f} epochs, {} samples, {} tokens)", run.steps, run.epoch,
                           run.samples, run.tokens));
  row("Loss, first to last step", fmt::format("{:.4f} to {:.4f}", run.first_loss, run.last_loss));
  if (card.exported_step != 0 && card.exported_step != run.steps)
    row("Exported state", fmt::format("step {}, the best on held-out data", card.exported_step));
  row("Training time", duration_text(run.runtime_s));
  if (!card.lives.empty()) {
    const auto& last = card.lives.back();
    row("Hosts", ranks_text(last));
    row("Date", text_of(last, "started"));
    row("Git commit", git_text(last));
    row("Command", as_code(text_of(last, "command")));
  }
  return table;
}

/// A run that was continued was several processes, perhaps at several world sizes.
std::string lives(const ModelCard& card) {
  if (card.lives.size() < 2) return {};
  std::string text =
      "\nIt was continued from a checkpoint:\n\n| from step | started | on |\n|---|---|---|\n";
  for (const auto& life : card.lives)
    text += fmt::format("| {} | {} | {} |\n",
                        life.contains("first_step") ? life["first_step"].dump() : "",
                        text_of(life, "started"), ranks_text(life));
  return text;
}

std::string evaluation(const ModelCard& card) {
  if (card.held_out.empty()) return {};
  const bool has_names = std::any_of(card.held_out.begin(), card.held_out.end(),
                                     [](const auto& entry) { return !entry.set.empty(); });
  std::string text =
      fmt::format("\n## Evaluation\n\n| step |{} loss on held-out data |\n|---|{}---|\n",
                  has_names ? " set |" : "", has_names ? "---|" : "");
  for (const auto& [step, set, loss] : card.held_out)
    text += fmt::format("| {} |{} {:.4f} |\n", step, has_names ? " " + set + " |" : "", loss);
  return text;
}

std::string prompt_layout(const ModelCard& card) {
  if (card.example_prompt.empty()) return {};
  std::string text = fmt::format(
      "\n## How a prompt is laid out\n\nThe layout of this training is `{}`. The question {} "
      "becomes\n\n{}",
      card.template_name, quoted(card.example_question), code_block("text", card.example_prompt));
  if (!card.is_layout_of_base)
    text +=
        "\nThis is not the base model's own chat template, which therefore is left out of this "
        "folder: with it the adapter would be asked in a form that it has not learnt.\n";
  return text;
}

std::string loading(const ModelCard& card) {
  const std::string prompt = card.example_prompt.empty() ? "..." : card.example_prompt;
  const std::string python = fmt::format(
      "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
      "from peft import PeftModel\n\n"
      "base = AutoModelForCausalLM.from_pretrained({})\n"
      "model = PeftModel.from_pretrained(base, \".\")  # this folder\n"
      "tokenizer = AutoTokenizer.from_pretrained(\".\")\n"
      "prompt = {}\n"
      "inputs = tokenizer(prompt, add_special_tokens=False, return_tensors=\"pt\")\n"
      "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=200)[0]))\n",
      quoted(card.base_model), quoted(prompt));
  return "\n## How to load it\n\n" + code_block("python", python) + "\n" +
         code_block("", fmt::format(
                            "lora-dist generate --base {} --adapter . --prompt {}", card.base_model,
                            quoted(card.example_question.empty() ? "..." : card.example_question)));
}

}  // namespace

std::string model_card_markdown(const ModelCard& card) {
  std::string text = front_matter(card);
  text += fmt::format("\n# {}\n\n{} {}.\n\n", card.name, kOrigin, LORA_DIST_VERSION);
  text += facts(card) + lives(card) + evaluation(card) + prompt_layout(card) + loading(card);
  return text + "\n## Settings\n\n" + code_block("yaml", card.config_yaml);
}

bool is_model_card(std::string_view text) { return text.find(kOrigin) != std::string_view::npos; }

}  // namespace lora_dist
