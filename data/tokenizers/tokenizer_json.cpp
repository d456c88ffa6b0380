#include "data/tokenizers/tokenizer_json.hpp"

#include "core/base/error.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 64;           // reliability 10.2
constexpr uint64_t kMaxVocab = 2'000'000;  // reliability 10.2

/// Builds the tree of `rest` and diverts the two big members. `open_` holds the containers being
/// filled, outermost first.
class Handler : public nlohmann::json_sax<json> {
 public:
  Handler(TokenizerJson& result, const std::string& path) : result_(result), path_(path) {}

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool binary(binary_t&) override { return false; }

  bool number_unsigned(number_unsigned_t value) override {
    if (into_ != Into::kVocab) return put(value);
    if (value >= kMaxVocab)
      fail(fmt::format("token id {}", value), fmt::format("fewer than {}", kMaxVocab));
    result_.vocab.emplace_back(std::move(key_), static_cast<TokenId>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (into_ != Into::kMerges) return put(std::move(value));
    if (depth_ > merges_depth_) {
      pair_.push_back(std::move(value));
      return true;
    }
    const size_t space = value.find(' ');
    if (space == std::string::npos || value.find(' ', space + 1) != std::string::npos) bad_merge();
    result_.merges.emplace_back(value.substr(0, space), value.substr(space + 1));
    return true;
  }

  bool key(string_t& value) override {
    key_ = std::move(value);
    return true;
  }

  bool start_object(size_t) override {
    enter();
    if (into_ != Into::kRest) not_a_number_or_pair();
    if (depth_ == 3 && at_model_member("vocab")) {
      into_ = Into::kVocab;
      return true;
    }
    return open(json::object());
  }

  bool end_object() override {
    --depth_;
    if (into_ == Into::kVocab) {
      into_ = Into::kRest;
      return true;
    }
    open_.pop_back();
    return true;
  }

  bool start_array(size_t) override {
    enter();
    if (into_ == Into::kVocab) not_a_number_or_pair();
    if (into_ == Into::kMerges) {
      if (depth_ != merges_depth_ + 1) bad_merge();
      pair_.clear();
      return true;
    }
    if (depth_ == 3 && at_model_member("merges")) {
      into_ = Into::kMerges;
      merges_depth_ = depth_;
      return true;
    }
    return open(json::array());
  }

  bool end_array() override {
    if (into_ == Into::kMerges) {
      if (depth_-- == merges_depth_) {
        into_ = Into::kRest;
        return true;
      }
      if (pair_.size() != 2) bad_merge();
      result_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
      return true;
    }
    --depth_;
    open_.pop_back();
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    throw ModelError({.where = fmt::format("{}: byte {}", path_, position > 0 ? position - 1 : 0),
                      .found = "the JSON breaks off",
                      .expected = {},
                      .fix = "restore or download it again"});
  }

 private:
  enum class Into { kRest, kVocab, kMerges };

  bool put(json value) {
    if (into_ != Into::kRest) not_a_number_or_pair();
    place(std::move(value));
    return true;
  }

  bool open(json container) {
    open_.push_back(place(std::move(container)));
    if (open_.size() <= 2) section_ = key_;
    return true;
  }

  json* place(json value) {
    if (open_.empty()) {
      result_.rest = std::move(value);
      return &result_.rest;
    }
    json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    if (parent.contains(key_)) fail(fmt::format("key '{}' stands twice", printable(key_)), {});
    return &(parent[key_] = std::move(value));
  }

  void enter() {
    if (++depth_ > kMaxDepth) fail(fmt::format("nested deeper than {} levels", kMaxDepth), {});
  }

  bool at_model_member(const std::string& name) const {
    return section_ == "model" && key_ == name;
  }

  [[noreturn]] void fail(const std::string& found, const std::string& expected) const {
    throw ModelError({.where = path_, .found = found, .expected = expected, .fix = {}});
  }
  [[noreturn]] void bad_merge() const {
    fail(fmt::format("merge {} is of another form", result_.merges.size() + 1),
         "\"a b\" or [\"a\", \"b\"]");
  }
  [[noreturn]] void not_a_number_or_pair() const {
    if (into_ == Into::kMerges) bad_merge();
    fail(fmt::format("the vocabulary's '{}' has no token id", printable(key_)),
         "a whole number from 0");
  }

  TokenizerJson& result_;
  const std::string& path_;
  std::vector<json*> open_;
  std::string section_;  // the top-level member that is being read
  std::string key_;
  Into into_ = Into::kRest;
  size_t depth_ = 0;
  size_t merges_depth_ = 0;
  std::vector<std::string> pair_;
};

}  // namespace

TokenizerJson parse_tokenizer_json(const std::string& content, const std::string& path) {
  TokenizerJson result;
  Handler handler(result, path);
  json::sax_parse(content, &handler);
  if (!result.rest.is_object())
    throw ModelError(
        {.where = path, .found = result.rest.type_name(), .expected = "a JSON object", .fix = {}});
  return result;
}

}  // namespace lora_dist
