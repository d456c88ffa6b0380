// Builds the tree from yaml-cpp's events, so that limits are checked while the text is read and not
// after an alias bomb has been expanded.
#include "core/config/yaml.hpp"

#include <map>
#include <set>
#include <sstream>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

/// yaml-cpp writes out what "!!" stands for; people know the short form.
std::string short_tag(const std::string& tag) {
  const std::string_view standard = "tag:yaml.org,2002:";
  return tag.starts_with(standard) ? "!!" + tag.substr(standard.size()) : tag;
}

class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const YamlSource& source) : source_(source) {}

  YamlPtr root() const { return root_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (root_) fail(mark, "a second document starts", "keep one set of keys in a file");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(make(YamlNode::Kind::kNull, mark), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check_tag(mark, tag);
    auto node = make(YamlNode::Kind::kScalar, mark);
    node->text = value;
    add(node, anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchored_.find(anchor);
    if (found == anchored_.end())  // still open: we stand inside it
      fail(mark, fmt::format("alias '{}' contains itself", names_[anchor]), "");
    num_nodes_ += found->second->num_nodes;
    if (num_nodes_ > kYamlNodes)
      fail(mark, fmt::format("aliases expand to more than {} nodes", kYamlNodes),
           "write the values out");
    attach(found->second, line_of(mark));
  }

  void OnAnchor(const YAML::Mark&, const std::string& name) override { next_name_ = name; }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    std::shared_ptr<YamlNode> node;
    YAML::anchor_t anchor = 0;
    YamlPtr key;                           // of a map: read, its value not yet
    std::map<std::string, int> key_lines;  // of a map
  };

  static int line_of(const YAML::Mark& mark) { return mark.line + 1; }

  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& found,
                         const std::string& fix) const {
    throw ConfigError({.where = source_.place(line_of(mark)), .found = found, .fix = fix});
  }

  void check_tag(const YAML::Mark& mark, const std::string& tag) const {
    static const std::set<std::string> plain = {"",        "?",      "!",      "!!str", "!!int",
                                                "!!float", "!!bool", "!!null", "!!seq", "!!map"};
    if (!plain.contains(short_tag(tag)))
      fail(mark, fmt::format("tag '{}' is not supported", short_tag(tag)), "use plain values");
  }

  std::shared_ptr<YamlNode> make(YamlNode::Kind kind, const YAML::Mark& mark) {
    auto node = std::make_shared<YamlNode>();
    node->kind = kind;
    node->line = line_of(mark);
    ++num_nodes_;
    return node;
  }

  void open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    check_tag(mark, tag);
    if (open_.size() >= kYamlDepth)
      fail(mark, fmt::format("nested deeper than {} levels", kYamlDepth), "");
    if (anchor) names_[anchor] = next_name_;
    open_.push_back({make(kind, mark), anchor, nullptr, {}});
  }

  void close() {
    const Open done = std::move(open_.back());
    open_.pop_back();
    add(done.node, done.anchor);
  }

  void add(const std::shared_ptr<YamlNode>& node, YAML::anchor_t anchor) {
    if (anchor) anchored_[anchor] = node;
    attach(node, node->line);
  }

  void attach(const YamlPtr& node, int line) {
    if (open_.empty()) {
      root_ = node;
      return;
    }
    Open& parent = open_.back();
    if (parent.node->kind == YamlNode::Kind::kMap && !parent.key) {
      take_key(parent, node, line);
      return;
    }
    parent.node->num_nodes += node->num_nodes;
    if (parent.node->kind == YamlNode::Kind::kList)
      parent.node->items.push_back(node);
    else
      parent.node->map.emplace_back(std::exchange(parent.key, nullptr), node);
  }

  void take_key(Open& parent, const YamlPtr& node, int line) {
    if (!node->is_scalar())
      throw ConfigError({.where = source_.place(line),
                         .found = "a key that is not a word",
                         .expected = "`key: value` lines"});
    const auto [first, fresh] = parent.key_lines.emplace(node->text, line);
    if (!fresh)
      throw ConfigError({.where = source_.place(line),
                         .found = fmt::format("'{}' given twice, first on line {}",
                                              shortened(node->text), first->second),
                         .fix = "remove one"});
    parent.node->num_nodes += node->num_nodes;
    parent.key = node;
  }

  const YamlSource& source_;
  YamlPtr root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlPtr> anchored_;  // complete ones
  std::map<YAML::anchor_t, std::string> names_;
  std::string next_name_;
  int64_t num_nodes_ = 0;
};

/// The keys of those lines that can be read alone.
YamlPtr read_line_by_line(const std::string& text, const YamlSource& source) {
  auto tree = std::make_shared<YamlNode>();
  tree->kind = YamlNode::Kind::kMap;
  std::istringstream lines(text);
  std::string before, line;  // blank lines before it, so that it keeps its number
  for (; std::getline(lines, line); before += '\n') {
    try {
      const YamlPtr alone = read_yaml(before + line, source);
      if (alone->is_map()) tree->map.insert(tree->map.end(), alone->map.begin(), alone->map.end());
    } catch (const ConfigError&) {
      // The line belongs to a value over several lines, or has a fault that the whole text shows.
    }
  }
  return tree;
}

}  // namespace

YamlPtr yaml_scalar(std::string text, int line) {
  auto node = std::make_shared<YamlNode>();
  node->kind = YamlNode::Kind::kScalar;
  node->text = std::move(text);
  node->line = line;
  return node;
}

std::string shortened(const std::string& text) {
  const size_t most = 80;  // bytes; a message is one line of at most 300 (reliability 12)
  if (text.size() <= most) return text;
  size_t end = most;
  while (end > 0 && (text[end] & 0xC0) == 0x80) --end;  // not inside a UTF-8 sequence
  return text.substr(0, end) + "...";
}

std::string describe(const YamlNode& node) {
  if (node.is_null()) return "(empty)";
  if (node.is_scalar()) return shortened(node.text);
  std::vector<std::string> parts;
  for (const YamlPtr& item : node.items) parts.push_back(describe(*item));
  for (const auto& [key, value] : node.map) parts.push_back(key->text + ": " + describe(*value));
  const std::string inside = fmt::format("{}", fmt::join(parts, ", "));
  return shortened(node.is_list() ? "[" + inside + "]" : "{" + inside + "}");
}

YamlPtr read_yaml(const std::string& text, const YamlSource& source) {
  const MendedText checked = mended_text(text, source);
  if (!checked.faults.empty()) throw checked.faults.front();
  std::istringstream stream(checked.text);
  TreeBuilder builder(source);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& failure) {
    throw ConfigError({.where = source.place(failure.mark.line + 1),
                       .found = fmt::format("not valid YAML ({})", failure.msg),
                       .fix = "write `key: value`, one key per line at the left margin; quote "
                              "texts with ':' or '#'"});
  }
  return builder.root() ? builder.root() : std::make_shared<YamlNode>();
}

YamlPtr read_mended_yaml(const std::string& text, const YamlSource& source,
                         std::vector<ConfigError>& faults) {
  const MendedText mended = mended_text(text, source);
  faults.insert(faults.end(), mended.faults.begin(), mended.faults.end());
  try {
    return read_yaml(mended.text, source);
  } catch (const ConfigError&) {
    if (mended.faults.empty()) throw;
    return read_line_by_line(mended.text, source);
  }
}

}  // namespace lora_dist
