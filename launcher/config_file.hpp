// The config as commands take it: --config files and key=value overrides.
#pragma once

#include <string>
#include <vector>

#include "core/config.hpp"

namespace CLI {
class App;
}

namespace lora_dist {

class Rendezvous;

/// Reads the files, a later one replacing keys of an earlier one, then the overrides; says on the
/// terminal which aliases were used.
/// Errors  ConfigError: no such file, not a file, too large, and all of parse_config.
Config read_config(const std::vector<std::string>& paths,
                   const std::vector<std::string>& overrides);
Config read_config(const std::string& path, const std::vector<std::string>& overrides);

/// The options of every command that works from a config; a member of the command.
struct ConfigOptions {
  std::vector<std::string> paths;
  std::vector<std::string> overrides;

  /// Declares --config and the overrides, and puts the key table under the command's --help.
  void declare(CLI::App& app);
  Config read() const { return read_config(paths, overrides); }
  /// The same on ranks of several hosts: a file that a host lacks is that of rank 0. Null: as
  /// read().
  ///
  /// Ranks   collective.
  Config read(Rendezvous* rendezvous) const;
};

}  // namespace lora_dist
