// The config as commands take it: files, with --config or without, and key=value overrides.
#pragma once

#include <string>
#include <vector>

#include "core/config/config.hpp"

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

/// Whether a word of the command line is a config file and no key=value: it ends like one, or is a
/// file that exists.
bool names_config_file(const std::string& word);

/// The options of every command that works from a config; a member of the command.
struct ConfigOptions {
  std::vector<std::string> paths;
  std::vector<std::string> overrides;

  /// Declares --config, the files without it and the overrides. After parsing `paths` holds every
  /// file, and there is one: else parsing ends with a ConfigError.
  void declare(CLI::App& app);
  /// The limits of time for ranks that meet before they know their config: of what this host has of
  /// it, and of the overrides.
  DistributionConfig known_limits() const;
  Config read() const { return read_config(paths, overrides); }
  /// The same with every mistake, and nothing said where there is one; errors are those of the
  /// files themselves.
  CheckedConfig check() const;
  /// The same on ranks of several hosts: a file that a host lacks is that of rank 0. Null: as
  /// read().
  ///
  /// Ranks   collective.
  Config read(Rendezvous* rendezvous) const;
};

}  // namespace lora_dist
