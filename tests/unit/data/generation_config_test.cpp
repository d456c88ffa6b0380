#include "data/weights/generation_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/error_text.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(EosIds, AreAllThatGenerationConfigNames) {
  const TempFolder folder;
  folder.write("config.json", R"({"eos_token_id": 7})");
  folder.write("generation_config.json", R"({"eos_token_id": [2047, 2043, 2047]})");
  EXPECT_THAT(read_eos_ids(folder.path()), ElementsAre(2047, 2043));
  folder.write("generation_config.json", R"({"eos_token_id": 5})");
  EXPECT_THAT(read_eos_ids(folder.path()), ElementsAre(5));
}

TEST(EosIds, AreThoseOfConfigJsonWhereGenerationConfigNamesNone) {
  const TempFolder folder;
  EXPECT_THAT(read_eos_ids(folder.path()), IsEmpty());
  folder.write("config.json", R"({"eos_token_id": [7, 8]})");
  EXPECT_THAT(read_eos_ids(folder.path()), ElementsAre(7, 8));
  for (const char* silent : {"{}", R"({"eos_token_id": null})", R"({"eos_token_id": -1})"}) {
    folder.write("generation_config.json", silent);
    EXPECT_THAT(read_eos_ids(folder.path()), ElementsAre(7, 8)) << silent;
  }
}

TEST(EosIds, ThatAreNoNumbersAreNamedWithTheirFile) {
  const TempFolder folder;
  folder.write("generation_config.json", R"({"eos_token_id": [1, "</s>"]})");
  EXPECT_THAT(
      error_text<ModelError>([&] { read_eos_ids(folder.path()); }),
      HasSubstr(R"(generation_config.json: eos_token_id is [1,"</s>"], expected a token id)"));
}

}  // namespace
}  // namespace lora_dist
