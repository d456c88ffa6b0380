// The manual page: man(7) macros, which groff and mandoc both know.
#include "core/config/config.hpp"
#include "launcher/help/command_facts.hpp"
#include "launcher/help/exit_codes.hpp"
#include "launcher/help/help_text.hpp"

namespace lora_dist {
namespace {

/// `text` as roff takes it literally.
std::string roff(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\')
      escaped += "\\e";
    else if (c == '-')
      escaped += "\\-";
    else
      escaped += c;
  }
  const bool looks_like_a_request = escaped.starts_with('.') || escaped.starts_with('\'');
  return looks_like_a_request ? "\\&" + escaped : escaped;
}

/// A tagged paragraph: the tag in bold, the text below it.
std::string paragraph(const std::string& tag, const std::string& text) {
  return fmt::format(".TP\n.B {}\n{}\n", roff(tag), roff(text));
}

std::string command_section(const CommandFacts& command) {
  std::string text = fmt::format(".SS {}\n{}\n", roff(command.name), roff(command.help));
  for (const OptionFacts& option : command.options)
    text += paragraph(spelled_out(option), option.help);
  return text;
}

std::string key_sections() {
  std::string text, group;
  for (const KeyFacts& key : config_keys()) {
    if (key.group != group) text += fmt::format(".SS {}\n", roff(key.group));
    group = key.group;
    std::string help = key.help;
    if (!key.is_built) help += "; not available yet";
    if (key.is_built && !key.allowed.empty()) help += fmt::format("; allowed: {}", key.allowed);
    if (!key.default_text.empty()) help += fmt::format("; default: {}", key.default_text);
    text += paragraph(key.key, help);
  }
  return text;
}

}  // namespace

std::string man_page() {
  std::string text =
      ".TH LORA\\-DIST 1 \"\" \"lora\\-dist " LORA_DIST_VERSION
      "\" \"User Commands\"\n"
      ".SH NAME\nlora\\-dist \\- LoRA fine\\-tuning, from one machine to a cluster\n"
      ".SH SYNOPSIS\n"
      ".B lora\\-dist\n[\\fBtrain\\fR] \\fIFILE\\fR [\\fB\\-\\-ranks\\fR \\fIN\\fR] "
      "[\\fIkey=value\\fR ...]\n"
      ".br\n.B lora\\-dist\n\\fICOMMAND\\fR [\\fIoptions\\fR]\n"
      ".SH DESCRIPTION\n"
      "Fine\\-tunes language models with LoRA as a YAML file says, with one process or with many\n"
      "over MPI, and writes an adapter that PEFT loads.\n"
      ".SH COMMANDS\n";
  for (const CommandFacts& command : command_facts()) text += command_section(command);
  text +=
      ".SH KEYS OF THE CONFIG FILE\n"
      "One flat YAML mapping; each key may also be given as \\fIkey=value\\fR on the command "
      "line.\n";
  text += key_sections();
  text += ".SH EXIT STATUS\n";
  for (const ExitCode& exit : kExitCodes)
    text += paragraph(std::to_string(exit.code), std::string(exit.meaning));
  return text + ".SH SEE ALSO\n.BR mpirun (1)\n";
}

}  // namespace lora_dist
