// What the templates share: a family only lays a conversation out as text; here the text becomes
// ids and a mask.
//
// A layout is a list of chunks, a chunk a list of segments. A chunk is tokenised as one text, so
// its ids are those of Hugging Face's apply_chat_template; where a segment ends among them is found
// by tokenising the chunk up to there and comparing. A token that spans a border (": " before a
// space) counts to the segment behind it. Chunks are tokenised apart: each begins with a special
// token, at which tokenizers cut anyway, or where the template says so.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "data/templates/template.hpp"

namespace lora_dist {

enum class Learn {
  kNever,
  kPrompt,
  kAnswer
};  // BOS and answers that are context only; what train_on_prompt adds; what is always learnt

/// How the content of a turn is learnt.
Learn learn_of(const Message& message);

struct Segment {
  std::string text;
  Learn learn = Learn::kPrompt;
};

struct Chunk {
  std::vector<Segment> segments;
  bool with_special_tokens = false;  // the tokenizer puts its BOS before it
  bool ends_with_eos = false;        // the EOS id follows, learnt as the last segment is
};

/// Ids and mask of chunks, one behind the other.
Tokens encode_chunks(const std::vector<Chunk>& chunks, bool train_on_prompt,
                     const Tokenizer& tokenizer);

/// One family's text. `bos` and `eos` are spellings, empty where the tokenizer has none.
struct LayoutRequest {
  const std::vector<Message>& messages;
  bool for_prompt = false;  // end with the header of the answer to be written
  std::string bos, eos;
};
using Layout = std::function<std::vector<Chunk>(const LayoutRequest&)>;

struct TemplateFamily {
  std::string name;
  Layout layout;
  std::vector<std::string>
      markers;  // special tokens that the text is made of; a warning where the tokenizer has none
  std::string end_of_turn;  // the token that ends an answer, where it is not EOS
};
std::unique_ptr<PromptTemplate> make_family_template(TemplateFamily family,
                                                     const Tokenizer& tokenizer);

/// One question with its answer, for families that know nothing else.
struct Exchange {
  const Message* user = nullptr;
  const Message* assistant = nullptr;  // null for the question that is to be answered
};
struct Dialogue {
  std::string system;  // empty: none
  std::vector<Exchange> exchanges;
};
/// Errors  DataError: not (system,) user, assistant, user, ... ending with an assistant
/// (for_prompt: with a user).
Dialogue as_dialogue(const LayoutRequest& request);

/// Whether the turn has `key` with a value that says something.
bool is_said(const nlohmann::ordered_json& turn, const std::string& key);
/// What the record has for a chat template beside roles and contents: "tools", "documents", and the
/// keys of its turns.
std::vector<std::string> keys_beside_text(const Conversation& record);
/// That one of them is not used.
std::string left_out_note(const std::string& key);

/// How the vocabulary spells a token; empty for -1.
std::string spelling(TokenId id, const Tokenizer& tokenizer);
/// Whether decoding without special tokens leaves it out.
bool is_special(TokenId id, const Tokenizer& tokenizer);

/// Content with `input` on a line behind it.
std::string full_content(const Message& message);
/// `text` without white space at its two ends, as Jinja's trim.
std::string stripped(const std::string& text);

}  // namespace lora_dist
