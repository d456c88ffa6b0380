// The tokenizer of a model folder: added tokens, normalizer, pre-tokenizer, BPE, post-processor,
// decoder, in this order.
//
// `truncation` and `padding` of tokenizer.json and `clean_up_tokenization_spaces` of its config are
// left alone: the first two are settings of a saved pipeline that AutoTokenizer resets too, the
// third changes decoded text after the fact.
#include "data/tokenizers/tokenizer.hpp"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "core/base/sha256.hpp"
#include "data/io/files.hpp"
#include "data/tokenizers/added_tokens.hpp"
#include "data/tokenizers/bpe.hpp"
#include "data/tokenizers/decoders.hpp"
#include "data/tokenizers/normalizers.hpp"
#include "data/tokenizers/pattern.hpp"
#include "data/tokenizers/post_processors.hpp"
#include "data/tokenizers/pre_tokenizers.hpp"
#include "data/tokenizers/tokenizer_config.hpp"
#include "data/tokenizers/tokenizer_json.hpp"
#include "data/tokenizers/unicode.hpp"
#include "data/weights/generation_config.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFileBytes = 64 << 20;  // reliability 10.2

struct Parts {
  Normalizer normalizer;  // null where the file has none, as the next two
  PreTokenizer pre_tokenizer;
  PartDecoder decoder;
  PostProcessor post_processor;
  std::unique_ptr<Bpe> model;
  AddedTokens added_tokens;
  TokenId bos = kNoToken, eos = kNoToken, pad = kNoToken;
  std::vector<TokenId> end_ids;  // the one that ends a text in training first
  std::string chat_template;
  std::string sha256;
};

class PipelineTokenizer : public Tokenizer {
 public:
  explicit PipelineTokenizer(Parts parts) : parts_(std::move(parts)) {}

  std::vector<TokenId> encode(std::string_view text, bool add_special_tokens) const override {
    std::vector<Piece> pieces = parts_.added_tokens.extract(lossy_utf8(text), parts_.normalizer);
    if (parts_.pre_tokenizer) parts_.pre_tokenizer(pieces);
    std::vector<TokenId> ids;
    ids.reserve(text.size() / 3);
    if (add_special_tokens) ids = parts_.post_processor.before;
    for (const Piece& piece : pieces) {
      if (piece.id != kNoToken)
        ids.push_back(piece.id);
      else
        parts_.model->encode(piece.text, ids);
    }
    const std::vector<TokenId>& after = parts_.post_processor.after;
    if (add_special_tokens) ids.insert(ids.end(), after.begin(), after.end());
    return ids;
  }

  std::string decode(const std::vector<TokenId>& ids, bool skip_special_tokens) const override {
    std::vector<std::string> parts;
    for (const TokenId id : ids) {
      const AddedToken* added = parts_.added_tokens.find(id);
      const std::string* form =
          added ? &parts_.added_tokens.decoded_form(*added) : parts_.model->piece(id);
      if (form == nullptr || (skip_special_tokens && parts_.added_tokens.is_special(*form)))
        continue;
      parts.push_back(*form);
    }
    if (!parts_.decoder) return fmt::format("{}", fmt::join(parts, " "));
    parts_.decoder(parts);
    return std::accumulate(parts.begin(), parts.end(), std::string());
  }

  std::string piece(TokenId id) const override {
    if (const AddedToken* added = parts_.added_tokens.find(id)) return added->content;
    const std::string* piece = parts_.model->piece(id);
    return piece ? *piece : std::string();
  }

  int64_t vocab_size() const override {
    return std::max(parts_.model->end_id(), parts_.added_tokens.end_id());
  }
  TokenId bos_id() const override { return parts_.bos; }
  TokenId eos_id() const override { return parts_.eos; }
  TokenId pad_id() const override { return parts_.pad; }
  TokenId end_id() const override {
    return parts_.end_ids.empty() ? kNoToken : parts_.end_ids.front();
  }
  bool ends_text(TokenId id) const override {
    return std::ranges::find(parts_.end_ids, id) != parts_.end_ids.end();
  }

  TokenId id_of(std::string_view piece) const override {
    const TokenId added = parts_.added_tokens.id_of(piece);
    return added != kNoToken ? added : parts_.model->id_of(piece);
  }

  const std::string& chat_template() const override { return parts_.chat_template; }
  const std::string& sha256() const override { return parts_.sha256; }

 private:
  Parts parts_;
};

std::unique_ptr<Bpe> make_model(TokenizerJson& file, const JsonView& spec) {
  // Old files have no "type"; only BPE has merges.
  if (spec.has("type") ? spec.text("type") != "BPE" : file.merges.empty())
    throw ModelError(
        {.where = spec.file(),
         .found = fmt::format("model '{}' is not supported",
                              spec.has("type") ? printable(spec.text("type")) : "without a type"),
         .expected = {},
         .fix = "known: BPE"});
  if (file.vocab.empty()) spec.fail("no vocabulary");
  if (spec.has("dropout") && spec.at("dropout").json() != 0)
    spec.fail("dropout makes ids random", "null");
  const auto text = [&](const std::string& key) {
    return spec.has(key) ? spec.text(key) : std::string();
  };
  BpeOptions options{.unk_token = text("unk_token"),
                     .continuing_subword_prefix = text("continuing_subword_prefix"),
                     .end_of_word_suffix = text("end_of_word_suffix"),
                     .fuse_unk = spec.boolean("fuse_unk", false),
                     .byte_fallback = spec.boolean("byte_fallback", false),
                     .ignore_merges = spec.boolean("ignore_merges", false)};
  return std::make_unique<Bpe>(std::move(file.vocab), file.merges, std::move(options), spec.file());
}

/// tokenizer.json's added tokens, each replaced by the config's entry for the same text.
std::vector<AddedToken> collect_added_tokens(const JsonView& file, const TokenizerConfig& config,
                                             const Bpe& model) {
  std::vector<AddedToken> tokens;
  if (file.has("added_tokens"))
    for (const JsonView& entry : file.items("added_tokens")) {
      const int64_t id = entry.integer("id");
      if (id < 0 || id >= 2'000'000)
        entry.fail(fmt::format("token id {}", id), "0 to 1999999");  // reliability 10.2
      tokens.push_back(read_added_token(entry, static_cast<TokenId>(id)));
    }
  for (const AddedToken& token : config.added_tokens) {
    const auto same = std::find_if(tokens.begin(), tokens.end(), [&](const AddedToken& other) {
      return other.content == token.content;
    });
    if (same == tokens.end()) {
      tokens.push_back(token);
    } else {
      const TokenId id = same->id;
      *same = token;
      same->id = id;
    }
  }
  std::unordered_map<TokenId, std::string> owners;
  for (AddedToken& token : tokens) {
    if (const TokenId id = model.id_of(token.content); id >= 0)
      token.id = id;  // the vocabulary's word counts, as in HF
    const std::string* owner = model.piece(token.id);
    if (owner == nullptr) owner = &owners.emplace(token.id, token.content).first->second;
    if (*owner != token.content)
      file.fail(fmt::format("id {} belongs to '{}' and '{}'", token.id, printable(*owner),
                            printable(token.content)));
  }
  return tokens;
}

TokenId resolve(const NamedToken& token, const char* key, const Parts& parts,
                const std::string& model_dir) {
  if (token.content.empty()) return token.id;
  TokenId id = parts.added_tokens.id_of(token.content);
  if (id == kNoToken) id = parts.model->id_of(token.content);
  // A padding token that was never trained is common and harmless: padding is masked by position.
  if (id == kNoToken && std::string_view(key) != "pad_token")
    throw ModelError(
        {.where = (fs::path(model_dir) / "tokenizer_config.json").string(),
         .found = fmt::format("{} '{}' is not in the vocabulary", key, printable(token.content)),
         .expected = "a token of tokenizer.json",
         .fix = {}});
  return id;
}

/// EOS and the ids of generation_config.json that the tokenizer knows; EOS first unless that file
/// names others only.
std::vector<TokenId> collect_end_ids(const Parts& parts, const std::string& model_dir) {
  std::vector<TokenId> ids;
  const int64_t num_ids = std::max(parts.model->end_id(), parts.added_tokens.end_id());
  for (const int64_t id : read_eos_ids(model_dir))
    if (id < num_ids) ids.push_back(static_cast<TokenId>(id));
  if (parts.eos == kNoToken) return ids;
  const auto eos = std::ranges::find(ids, parts.eos);
  if (eos == ids.end())
    ids.push_back(parts.eos);
  else
    std::rotate(ids.begin(), eos, eos + 1);
  return ids;
}

std::string hash_files(std::string_view tokenizer_json, const std::vector<std::string>& others) {
  Sha256 hash;
  hash.update(tokenizer_json);
  for (const std::string& path : others) {
    hash.update(fs::path(path).filename().string());
    hash.update(read_file(path));
  }
  return hash.hex();
}

[[noreturn]] void fail_missing(const std::string& model_dir, const std::string& path) {
  const bool has_other = fs::exists(fs::path(model_dir) / "tokenizer.model") ||
                         fs::exists(fs::path(model_dir) / "vocab.json");
  throw ModelError({.where = path,
                    .found = "no such file",
                    .expected = {},
                    .fix = has_other
                               ? "write it once with transformers: "
                                 "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
                               : "copy the tokenizer files of the base model into its folder"});
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& model_dir) {
  const std::string path = (fs::path(model_dir) / "tokenizer.json").string();
  if (!fs::exists(path)) fail_missing(model_dir, path);
  const std::string content = read_file(path, kMaxFileBytes);
  TokenizerJson file = parse_tokenizer_json(content, path);
  check_patterns(file.rest, path);
  const TokenizerConfig config = read_tokenizer_config(model_dir);
  const JsonView view(file.rest, path);

  Parts parts;
  if (view.has("normalizer")) parts.normalizer = make_normalizer(view.at("normalizer"));
  if (view.has("pre_tokenizer")) parts.pre_tokenizer = make_pre_tokenizer(view.at("pre_tokenizer"));
  if (view.has("decoder")) parts.decoder = make_decoder(view.at("decoder"));
  if (view.has("post_processor"))
    parts.post_processor = make_post_processor(view.at("post_processor"));
  parts.model = make_model(file, view.at("model"));
  parts.added_tokens =
      AddedTokens(collect_added_tokens(view, config, *parts.model), parts.normalizer);
  parts.bos = resolve(config.bos, "bos_token", parts, model_dir);
  parts.eos = resolve(config.eos, "eos_token", parts, model_dir);
  parts.pad = resolve(config.pad, "pad_token", parts, model_dir);
  parts.end_ids = collect_end_ids(parts, model_dir);
  parts.chat_template = config.chat_template;
  parts.sha256 = hash_files(content, config.files);
  return std::make_unique<PipelineTokenizer>(std::move(parts));
}

}  // namespace lora_dist
