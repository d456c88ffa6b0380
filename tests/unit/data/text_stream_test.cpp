// Text that is shown while it is written, and tokens as people read them.
#include "data/tokenizers/text_stream.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/io/printable.hpp"
#include "data/tokenizers/readable.hpp"

namespace lora_dist {
namespace {

std::unique_ptr<Tokenizer> tokenizer_named(const std::string& name) {
  return load_tokenizer(LORA_DIST_SOURCE_DIR "/tests/golden/tokenizers/" + name);
}

TEST(TextStream, GivesTheWholeTextAndNeverHalfACharacter) {
  const std::string text = " Hello 世界 😀😀 é,  two  spaces\n\tand 依据《劳动合同法》 the end";
  for (const char* name : {"llama3", "llama2", "llama2_legacy", "qwen2", "gemma", "phi3"}) {
    const auto tokenizer = tokenizer_named(name);
    const std::vector<TokenId> ids = tokenizer->encode(text, /*add_special_tokens=*/false);
    TextStream stream(*tokenizer);
    std::string shown;
    int num_pieces = 0;
    for (const TokenId id : ids) {
      const std::string more = stream.add(id);
      EXPECT_EQ(first_invalid_utf8(more), std::string::npos) << name;
      EXPECT_EQ(more.find("\uFFFD"), std::string::npos) << name;
      num_pieces += !more.empty();
      shown += more;
    }
    EXPECT_EQ(shown + stream.finish(), tokenizer->decode(ids, /*skip_special_tokens=*/true))
        << name;
    EXPECT_GT(num_pieces, 10) << name;
  }
}

TEST(TextStream, EndsHalfACharacterWithAReplacement) {
  const auto tokenizer = tokenizer_named("llama3");
  std::vector<TokenId> ids = tokenizer->encode("a😀", /*add_special_tokens=*/false);
  ids.pop_back();
  TextStream stream(*tokenizer);
  std::string shown;
  for (const TokenId id : ids) shown += stream.add(id);
  EXPECT_EQ(shown, "a");
  EXPECT_EQ(stream.finish().substr(0, 3), "\uFFFD");
}

TEST(ReadablePieces, AreTextWithControlCharactersAndPartsOfCharactersSpelled) {
  const auto shown = [](const char* name, const std::string& text) {
    const auto tokenizer = tokenizer_named(name);
    std::string pieces;
    for (const TokenId id : tokenizer->encode(text, /*add_special_tokens=*/false))
      pieces += readable_piece(id, *tokenizer);
    return pieces;
  };
  EXPECT_THAT(shown("llama3", "x\n"), testing::HasSubstr("\\n\""));
  EXPECT_THAT(shown("llama3", "a the"), testing::HasSubstr("\" the\""));
  EXPECT_THAT(shown("llama2", "a the"), testing::HasSubstr("\" the\""));
  EXPECT_THAT(shown("llama3", "\x1b"), testing::HasSubstr("\\x1b"));
  EXPECT_THAT(shown("llama3", "😀"), testing::HasSubstr("\\xF0"));
  EXPECT_THAT(shown("llama2", "😀"), testing::HasSubstr("\\xF0"));
}

}  // namespace
}  // namespace lora_dist
