// YAML as a small tree that remembers lines, read from text that nobody vouches for.
//
// Promises: whatever the bytes are, either a tree of at most kYamlNodes nodes and kYamlDepth levels
// comes back, or a ConfigError that names the line. Aliases are shared, never copied. Scalars stay
// as they were written ("010", "1e-4"); what they mean is decided by the key they belong to.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.hpp"

namespace lora_dist {

inline constexpr int64_t kYamlNodes = 10'000;  // after aliases are expanded
inline constexpr int kYamlDepth = 32;

struct YamlNode;
using YamlPtr = std::shared_ptr<const YamlNode>;

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::string text;                              // of a scalar, as written, quotes removed
  std::vector<YamlPtr> items;                    // of a list
  std::vector<std::pair<YamlPtr, YamlPtr>> map;  // keys are scalars, each given once
  int line = 1;                                  // 1-based
  int64_t num_nodes = 1;                         // with everything below, aliases expanded

  bool is_null() const { return kind == Kind::kNull; }
  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_list() const { return kind == Kind::kList; }
  bool is_map() const { return kind == Kind::kMap; }
};

YamlPtr yaml_scalar(std::string text, int line);
/// At most some 80 bytes of a value, for messages.
std::string shortened(const std::string& text);
/// The node in one short line, for messages: "512", "[q_proj, v_proj]".
std::string describe(const YamlNode& node);

/// A text and its name in messages: a file's lines are counted, a command line has none.
struct YamlSource {
  std::string name;
  bool has_lines = true;
  /// "c.yaml:7", or "command line".
  std::string place(int line) const { return has_lines ? name + ":" + std::to_string(line) : name; }
};

/// One document; an empty text gives a null node. Errors  ConfigError.
YamlPtr read_yaml(const std::string& text, const YamlSource& source);

/// The same of a file whose lines may be at fault: each fault is put into `faults`, and the tree is
/// that of the lines as they were meant, so that what is wrong beside them is told too.
YamlPtr read_mended_yaml(const std::string& text, const YamlSource& source,
                         std::vector<ConfigError>& faults);

/// Refuses what no YAML parser should see: too large, not UTF-8, NUL bytes. Returns the text
/// without a byte-order mark. Errors  ConfigError.
std::string checked_text(const std::string& text, const YamlSource& source);

/// A checked text with the lines as they were meant that a YAML parser would misread, and a fault
/// for each of them: tabs as indentation; in a file also keys without a blank behind their colon,
/// or with a full-width one. Errors  ConfigError, as checked_text.
struct MendedText {
  std::string text;
  std::vector<ConfigError> faults;
};
MendedText mended_text(const std::string& text, const YamlSource& source);

}  // namespace lora_dist
