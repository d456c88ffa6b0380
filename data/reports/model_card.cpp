// README.md of the run folder, with the front matter that the Hugging Face Hub reads.
#include "data/json.hpp"
#include "data/reports/reports.hpp"

namespace lora_dist {
namespace {

/// A YAML double-quoted scalar is a superset of a JSON string.
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

std::string facts(const ModelCard& card) {
  std::string table = "| | |\n|---|---|\n";
  const auto row = [&](const char* name, const std::string& value) {
    if (!value.empty()) table += fmt::format("| {} | {} |\n", name, value);
  };
  row("Base model", "`" + card.base_model + "`");
  row("Training data", card.data.empty() ? "" : "`" + card.data + "`");
  row("Prompt template", card.template_name);
  row("Trainable parameters", fmt::format("{}", card.trainable_parameters));
  row("Steps", fmt::format("{}", card.steps));
  row("Loss, first to last step", fmt::format("{:.4f} to {:.4f}", card.first_loss, card.last_loss));
  return table;
}

std::string evaluation(const ModelCard& card) {
  if (card.eval_losses.empty()) return {};
  std::string text = "\n## Evaluation\n\n| step | loss on held-out data |\n|---|---|\n";
  for (const auto& [step, loss] : card.eval_losses)
    text += fmt::format("| {} | {:.4f} |\n", step, loss);
  return text;
}

std::string loading(const ModelCard& card) {
  return fmt::format(
      "\n## How to load it\n\n"
      "```python\n"
      "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
      "from peft import PeftModel\n\n"
      "base = AutoModelForCausalLM.from_pretrained({0})\n"
      "model = PeftModel.from_pretrained(base, \".\")  # this folder\n"
      "tokenizer = AutoTokenizer.from_pretrained({0})\n"
      "```\n\n"
      "```\n"
      "lora-dist generate --base {1} --adapter . --prompt \"...\"\n"
      "```\n",
      quoted(card.base_model), card.base_model);
}

}  // namespace

std::string model_card_markdown(const ModelCard& card) {
  std::string text = front_matter(card);
  text += fmt::format("\n# {}\n\nA LoRA adapter, trained with lora-dist {}.\n\n", card.name,
                      LORA_DIST_VERSION);
  text += facts(card) + evaluation(card) + loading(card);
  text += "\n## Settings\n\n```yaml\n" + card.config_yaml;
  if (!card.config_yaml.empty() && card.config_yaml.back() != '\n') text += '\n';
  return text + "```\n";
}

}  // namespace lora_dist
