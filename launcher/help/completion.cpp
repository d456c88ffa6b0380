// Completion scripts. Each is told the same: the commands, the options of each, and behind a config
// the keys with the words that they may have.
#include <algorithm>

#include "core/config/config.hpp"
#include "launcher/help/command_facts.hpp"
#include "launcher/help/help_text.hpp"

namespace lora_dist {
namespace {

/// `text` between single quotes, as shells and fish read it.
std::string single_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string names_of(const std::vector<CommandFacts>& commands) {
  std::vector<std::string> names;
  for (const CommandFacts& command : commands) names.push_back(command.name);
  return fmt::format("{}", fmt::join(names, " "));
}

std::string options_of(const CommandFacts& command) {
  std::vector<std::string> names;
  for (const OptionFacts& option : command.options)
    if (!option.is_positional) names.push_back(option.name);
  return fmt::format("{}", fmt::join(names, " "));
}

std::string commands_with_config(const std::vector<CommandFacts>& commands, const char* separator) {
  std::vector<std::string> names;
  for (const CommandFacts& command : commands)
    if (command.takes_config) names.push_back(command.name);
  return fmt::format("{}", fmt::join(names, separator));
}

/// What may follow `help`.
std::string help_topics(const std::vector<CommandFacts>& commands) {
  std::string topics = "keys " + names_of(commands);
  for (const KeyFacts& key : config_keys()) topics += " " + key.key;
  return topics;
}

std::string bash_script(const std::vector<CommandFacts>& commands) {
  std::string options, values, keys;
  for (const CommandFacts& command : commands)
    options += fmt::format("    {}) options='{}' ;;\n", command.name, options_of(command));
  for (const KeyFacts& key : config_keys()) {
    keys += fmt::format("{}{}=", keys.empty() ? "" : " ", key.key);
    if (!key.words.empty())
      values += fmt::format("      {}) COMPREPLY=($(compgen -W '{}' -- \"$value\")) ;;\n", key.key,
                            fmt::join(key.words, " "));
  }
  return fmt::format(R"(# bash completion of lora-dist, made by `lora-dist completion bash`
_lora_dist() {{
  local line=${{COMP_LINE:0:COMP_POINT}} command=train options= keys=
  local word=${{line##*[[:space:]]}}
  local commands='{commands}'
  if [[ $COMP_CWORD -gt 1 && " $commands " == *" ${{COMP_WORDS[1]}} "* ]]; then
    command=${{COMP_WORDS[1]}}
  fi
  case $command in
{options}  esac
  case $command in
    {with_config}) keys='{keys}' ;;
    help) keys='{topics}' ;;
    completion) keys='bash zsh fish' ;;
  esac
  if [[ $word == *=* && $word != -* ]]; then
    local key=${{word%%=*}} value=${{word#*=}}
    case $key in
{values}      *) COMPREPLY=($(compgen -f -- "$value")) ;;
    esac
    return
  fi
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
    return
  fi
  [[ $COMP_CWORD -eq 1 ]] && keys="$commands $keys"
  COMPREPLY=($(compgen -W "$keys" -- "$word") $(compgen -f -- "$word"))
  [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace
}}
complete -o filenames -F _lora_dist lora-dist
)",
                     fmt::arg("commands", names_of(commands)), fmt::arg("options", options),
                     fmt::arg("with_config", commands_with_config(commands, "|")),
                     fmt::arg("keys", keys), fmt::arg("topics", help_topics(commands)),
                     fmt::arg("values", values));
}

/// "name:text" as zsh's _describe takes it.
std::string zsh_entry(const std::string& name, const std::string& text) {
  std::string escaped;
  for (const char c : name) escaped += c == ':' ? std::string("\\:") : std::string(1, c);
  return "    " + single_quoted(escaped + ":" + text) + "\n";
}

std::string zsh_script(const std::vector<CommandFacts>& commands) {
  std::string names, options, keys, values;
  for (const CommandFacts& command : commands) {
    names += zsh_entry(command.name, command.help);
    options += fmt::format("  {}) options=(\n", command.name);
    for (const OptionFacts& option : command.options)
      if (!option.is_positional) options += zsh_entry(option.name, option.help);
    options += "  ) ;;\n";
  }
  for (const KeyFacts& key : config_keys()) {
    keys += zsh_entry(key.key, key.help);
    if (!key.words.empty())
      values += fmt::format("      {}) compadd -- {} ;;\n", key.key, fmt::join(key.words, " "));
  }
  return fmt::format(R"(#compdef lora-dist
# zsh completion of lora-dist, made by `lora-dist completion zsh`
_lora_dist() {{
  local command=train
  local -a commands options keys
  commands=(
{names}  )
  keys=(
{keys}  )
  (( CURRENT > 2 && ${{commands[(I)${{words[2]}}:*]}} )) && command=${{words[2]}}
  case $command in
{options}  esac
  if [[ $PREFIX == -* ]]; then
    _describe -o option options
    return
  fi
  if [[ $PREFIX == *=* ]]; then
    local key=${{PREFIX%%=*}}
    compset -P '*='
    case $key in
{values}      *) _files ;;
    esac
    return
  fi
  (( CURRENT == 2 )) && _describe command commands
  case $command in
    {with_config}) _describe key keys -S '=' -q ;;
    help) _describe command commands; _describe key keys; compadd keys ;;
    completion) compadd bash zsh fish; return ;;
  esac
  _files
}}
_lora_dist "$@"
)",
                     fmt::arg("names", names), fmt::arg("keys", keys), fmt::arg("options", options),
                     fmt::arg("values", values),
                     fmt::arg("with_config", commands_with_config(commands, "|")));
}

std::string fish_script(const std::vector<CommandFacts>& commands) {
  std::string text = "# fish completion of lora-dist, made by `lora-dist completion fish`\n";
  std::vector<std::string> without_config;
  for (const CommandFacts& command : commands) {
    if (!command.takes_config) without_config.push_back(command.name);
    text += fmt::format("complete -c lora-dist -n __fish_use_subcommand -a {} -d {}\n",
                        command.name, single_quoted(command.help));
    for (const OptionFacts& option : command.options)
      if (!option.is_positional)
        text +=
            fmt::format("complete -c lora-dist -n '__fish_seen_subcommand_from {}' -l {}{} -d {}\n",
                        command.name, option.name.substr(2), option.value.empty() ? "" : " -r",
                        single_quoted(option.help));
  }
  const std::string takes_keys =
      fmt::format("'not __fish_seen_subcommand_from {}'", fmt::join(without_config, " "));
  for (const KeyFacts& key : config_keys()) {
    std::string choices = key.key + "=";
    for (const std::string& word : key.words) choices += fmt::format(" {}={}", key.key, word);
    text += fmt::format("complete -c lora-dist -n {} -a {} -d {}\n", takes_keys,
                        single_quoted(choices), single_quoted(key.help));
  }
  return text + fmt::format(
                    "complete -c lora-dist -n '__fish_seen_subcommand_from help' -a {}\n"
                    "complete -c lora-dist -n '__fish_seen_subcommand_from completion' -a "
                    "'bash zsh fish'\n",
                    single_quoted(help_topics(commands)));
}

}  // namespace

std::string completion_script(const std::string& shell) {
  const std::vector<CommandFacts> commands = command_facts();
  if (shell == "bash") return bash_script(commands);
  if (shell == "zsh") return zsh_script(commands);
  if (shell == "fish") return fish_script(commands);
  throw ConfigError({.where = "command line",
                     .found = fmt::format("completion for '{}'", shell),
                     .expected = "bash, zsh or fish"});
}

}  // namespace lora_dist
