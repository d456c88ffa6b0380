#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/io/files.hpp"
#include "data/io/hdf5_signature.hpp"
#include "data/preparation/manifest.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/text_parts.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

PartContent three_samples(int64_t vocab_size = 50000) {
  return text_content({{{1, 2, 3}, {0, 1, 1}}, {{40000}, {1}}, {{5, 6}, {0, 1}}}, vocab_size);
}

PartAttributes some_attributes() {
  return {.origins = {{"tokenizer_sha256", "t"}, {"template_sha256", ""}},
          .source_sha256 = "s",
          .max_seq_length = 7,
          .num_records = 4,
          .num_cut = 1,
          .num_skipped = 2};
}

std::vector<TokenId> tokens_in(const PartFile& part, ElementRange range) {
  const at::Tensor ids = part.read_elements(0, range);
  return {ids.const_data_ptr<TokenId>(), ids.const_data_ptr<TokenId>() + ids.numel()};
}

bool equal(const std::vector<Tokens>& a, const std::vector<Tokens>& b) {
  return std::ranges::equal(a, b, [](const Tokens& x, const Tokens& y) {
    return x.ids == y.ids && x.loss_mask == y.loss_mask;
  });
}

std::string open_error(const std::string& path) {
  try {
    PartFile::open(path);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(PartFile, GivesBackWhatWasWritten) {
  const TempFolder folder;
  for (const int64_t vocab_size : {65536, 65537}) {
    const std::string path = folder.file("part.h5");
    write_part(path, some_attributes(), three_samples(vocab_size));
    const auto part = PartFile::open(path, text_schema_of(vocab_size));
    EXPECT_EQ(part->attributes(), some_attributes());
    EXPECT_EQ(part->format_version(), 1) << "what older programs read";
    EXPECT_TRUE(equal(texts_in(*part), {{{1, 2, 3}, {0, 1, 1}}, {{40000}, {1}}, {{5, 6}, {0, 1}}}));
    EXPECT_THAT(tokens_in(*part, {3, 5}), ElementsAre(40000, 5));
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1)
      << "temporary files are gone";
}

TEST(PartFile, KeepsIdsAsNarrowAsTheVocabularyAllows) {
  const TempFolder folder;
  const std::vector<Tokens> long_sample = {
      {std::vector<TokenId>(100000, 7), std::vector<uint8_t>(100000, 1)}};
  write_part(folder.file("narrow.h5"), {}, text_content(long_sample, 65536));
  write_part(folder.file("wide.h5"), {}, text_content(long_sample, 65537));
  EXPECT_GT(std::filesystem::file_size(folder.file("wide.h5")),
            std::filesystem::file_size(folder.file("narrow.h5")) + 190000);
}

TEST(PartFile, MayBeEmpty) {
  const TempFolder folder;
  write_part(folder.file("part.h5"), some_attributes(), text_content({}, 100));
  const auto part = PartFile::open(folder.file("part.h5"));
  EXPECT_EQ(part->num_samples(), 0);
  EXPECT_TRUE(part->measure().empty());
  EXPECT_TRUE(tokens_in(*part, {0, 0}).empty());
}

TEST(PartFile, SaysWhenItIsNoSuchFile) {
  const TempFolder folder;
  EXPECT_THAT(open_error(folder.file("none.h5")), HasSubstr("none.h5: no such file"));
  EXPECT_THAT(open_error(folder.write("text.h5", "not HDF5")),
              HasSubstr("text.h5: cannot open the file (HDF5: "));
  EXPECT_FALSE(is_hdf5(folder.file("text.h5")));
}

/// Whether the content of a damaged part is refused or still what was written.
bool is_silently_wrong(const std::string& path, const std::vector<Tokens>& samples) {
  try {
    return !equal(texts_in(*PartFile::open(path)), samples);
  } catch (const DataError&) {
    return false;
  }
}

TEST(PartFile, NeverGivesWrongTokensForAFlippedBit) {
  const TempFolder folder;
  std::vector<Tokens> samples;
  for (TokenId id = 0; id < 64; ++id) samples.push_back({{id, id + 1, 300}, {0, 1, 1}});
  write_part(folder.file("good.h5"), some_attributes(), text_content(samples, 1000));
  const std::string good = read_file(folder.file("good.h5"));
  int refused = 0;
  for (size_t byte = 0; byte < good.size(); byte += 7) {
    std::string damaged = good;
    damaged[byte] = static_cast<char>(damaged[byte] ^ (1 << (byte % 8)));
    const std::string path = folder.write("damaged.h5", damaged);
    EXPECT_FALSE(is_silently_wrong(path, samples)) << "bit " << byte % 8 << " of byte " << byte;
    try {
      texts_in(*PartFile::open(path));
    } catch (const DataError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0) << "no flip met anything that matters";
}

TEST(PartFile, RefusesSamplesOfAnotherTaskOrVersion) {
  const TempFolder folder;
  SampleSchema other = text_schema_of(50000);
  other.task = "pairs";
  PartContent content(other);
  content.add(to_sample({{1, 2}, {0, 1}}));
  const std::string path = folder.file("part.h5");
  write_part(path, some_attributes(), content);
  EXPECT_EQ(PartFile::open(path, other)->format_version(), 2);
  EXPECT_EQ(open_error(path), path +
                                  ": samples of task 'pairs', expected text-generation; update "
                                  "lora-dist");
  other.version = 2;
  try {
    PartFile::open(path, other);
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_EQ(std::string(error.what()),
              path +
                  ": version 1 of the samples of pairs, this build reads 2; prepare the data "
                  "again");
  }
}

TEST(PartFile, SaysWhenItWasCut) {
  const TempFolder folder;
  write_part(folder.file("good.h5"), some_attributes(), three_samples());
  const std::string good = read_file(folder.file("good.h5"));
  EXPECT_THAT(open_error(folder.write("cut.h5", good.substr(0, good.size() / 2))),
              HasSubstr("cut.h5: cannot open the file"));
}

// --- files that strangers made, with the C library alone
// --------------------------------------------------------------

struct Recipe {
  hid_t token_type = H5T_STD_U16LE;
  std::vector<hsize_t> tokens_extent = {2};
  std::function<void(hid_t creation)> shape_tokens = {};
  std::function<bool(hid_t file)> make_tokens = {};  // true: the dataset is there already
  std::vector<uint64_t> offsets = {0, 2};
  hsize_t mask_extent = 2;
};

void make_dataset(hid_t file, const char* name, hid_t type, const std::vector<hsize_t>& extent,
                  const void* values, const std::function<void(hid_t)>& shape = {}) {
  const hid_t space = H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr);
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  if (shape) shape(creation);
  const hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  ASSERT_GE(dataset, 0) << name;
  if (values != nullptr)
    H5Dwrite(dataset, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  H5Dclose(dataset);
  H5Pclose(creation);
  H5Sclose(space);
}

std::string error_of(const Recipe& recipe, int64_t expected_bytes = -1) {
  const TempFolder folder;
  const std::string path = folder.file("a.h5");
  {
    const H5Lock lock;
    const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const std::vector<uint64_t> zeros(16, 0);
    if (!recipe.make_tokens || !recipe.make_tokens(file))
      make_dataset(file, "tokens", recipe.token_type, recipe.tokens_extent,
                   recipe.shape_tokens ? nullptr : zeros.data(), recipe.shape_tokens);
    make_dataset(file, "loss_mask", H5T_STD_U8LE, {recipe.mask_extent}, zeros.data());
    make_dataset(file, "offsets", H5T_STD_U64LE, {recipe.offsets.size()}, recipe.offsets.data());
    H5Fclose(file);
  }
  const std::string error = open_error(path);
  return error.starts_with(path) ? "a.h5" + error.substr(path.size()) : error;
}

TEST(StrangersPart, IsTakenWhereItKeepsToTheFormat) { EXPECT_EQ(error_of({}), "no error"); }

TEST(StrangersPart, MayNotHoldFloats) {
  EXPECT_EQ(
      error_of({.token_type = H5T_IEEE_F32LE}),
      "a.h5: /tokens is float32, expected uint16 or uint32; write it with `lora-dist prepare`");
}

TEST(StrangersPart, MayNotKeepItsDataElsewhere) {
  EXPECT_EQ(error_of({.shape_tokens =
                          [](hid_t creation) { H5Pset_external(creation, "/etc/passwd", 0, 4); }}),
            "a.h5: dataset /tokens keeps its data in '/etc/passwd'; external storage is refused");
  EXPECT_EQ(error_of({.make_tokens =
                          [](hid_t file) {
                            return H5Lcreate_external("b.h5", "/tokens", file, "tokens",
                                                      H5P_DEFAULT, H5P_DEFAULT) >= 0;
                          }}),
            "a.h5: /tokens is a link to file 'b.h5'; links are refused");
  EXPECT_EQ(error_of({.shape_tokens =
                          [](hid_t creation) {
                            const hsize_t extent = 2;
                            const hid_t space = H5Screate_simple(1, &extent, nullptr);
                            H5Pset_virtual(creation, space, "b.h5", "/tokens", space);
                            H5Sclose(space);
                          }}),
            "a.h5: dataset /tokens is virtual; write it as one file");
}

TEST(StrangersPart, MayNotDeclareMoreThanItHas) {
  EXPECT_THAT(error_of({.tokens_extent = {hsize_t{1} << 41},
                        .shape_tokens =
                            [](hid_t creation) {
                              const hsize_t chunk = 1024;
                              H5Pset_chunk(creation, 1, &chunk);
                            }}),
              HasSubstr("a.h5: /tokens declares 4398046511104 bytes, the file has "));
}

TEST(StrangersPart, MayNotLeaveChunksOut) {
  // 2000 bytes of nothing would read as zeros although the file is large enough for them.
  EXPECT_THAT(error_of({.tokens_extent = {1000},
                        .shape_tokens =
                            [](hid_t creation) {
                              const hsize_t chunk = 1000;
                              H5Pset_chunk(creation, 1, &chunk);
                            }}),
              HasSubstr("a.h5: /tokens declares 2000 bytes, the file has "));
}

TEST(StrangersPart, MayOnlyUseFiltersThatAreBuiltIn) {
  EXPECT_EQ(error_of({.shape_tokens =
                          [](hid_t creation) {
                            const hsize_t chunk = 2;
                            H5Pset_chunk(creation, 1, &chunk);
                            H5Pset_scaleoffset(creation, H5Z_SO_INT, 0);
                          }}),
            "a.h5: dataset /tokens needs filter 6; use none, shuffle or deflate");
}

TEST(StrangersPart, HasOneDimensionAndBoundsThatFit) {
  EXPECT_EQ(error_of({.tokens_extent = {2, 1}}),
            "a.h5: /tokens has 2 dimensions, expected 1; write it with `lora-dist prepare`");
  EXPECT_THAT(error_of({.offsets = {0, 3}}),
              HasSubstr("a.h5: /offsets are not the bounds of the samples, expected ascending "
                        "numbers from 0 to 2"));
  EXPECT_THAT(error_of({.offsets = {0, 2, 1, 2}}), HasSubstr("a.h5: /offsets are not the bounds"));
  EXPECT_THAT(error_of({.mask_extent = 3}),
              HasSubstr("a.h5: /loss_mask has 3 entries, expected 2, as /tokens has"));
  EXPECT_THAT(error_of({.make_tokens = [](hid_t) { return true; }}),
              HasSubstr("a.h5: no dataset /tokens"));
}

// --- manifest
// ---------------------------------------------------------------------------------------------------------

TEST(Manifest, CountsWhatAPartHoldsAndReadsBack) {
  const TempFolder folder;
  write_part(folder.file("part-0000.h5"), some_attributes(), three_samples());
  const PartSummary part = summarise_part(folder.file("part-0000.h5"), text_schema_of(50000));
  EXPECT_EQ(part.file, "part-0000.h5");
  EXPECT_EQ(part.num_records, 4);
  EXPECT_EQ(part.num_samples, 3);
  EXPECT_EQ(part.cost, 6);
  EXPECT_EQ(part.loss_terms, 3) << "the first token of a sample is never predicted";
  EXPECT_EQ(part.num_cut, 1);
  EXPECT_EQ(part.num_skipped, 2);
  const std::string text =
      manifest_text({.fingerprint = "f", .made_from = {{"data_format", "text"}}, .parts = {part}});
  const Manifest read = parse_manifest(text, "manifest.json");
  EXPECT_EQ(read.fingerprint, "f");
  ASSERT_EQ(read.parts.size(), 1u);
  EXPECT_EQ(part_to_json(read.parts[0]), part_to_json(part));
  EXPECT_NO_THROW(verify_part(folder.path(), read.parts[0]));
}

TEST(Manifest, NoticesAPartThatChanged) {
  const TempFolder folder;
  const std::string path = folder.file("part-0000.h5");
  write_part(path, some_attributes(), three_samples());
  const PartSummary part = summarise_part(path, text_schema_of(50000));
  std::string changed = read_file(path);
  changed[changed.size() / 2] ^= 1;
  folder.write("part-0000.h5", changed);
  try {
    verify_part(folder.path(), part);
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_EQ(std::string(error.what()),
              path + ": hash differs from manifest.json; delete " + folder.path());
  }
}

TEST(Manifest, RefusesNamesThatLeaveTheFolder) {
  PartSummary part{.file = "../x.h5"};
  const std::string text = manifest_text({.fingerprint = "f", .parts = {part}});
  EXPECT_THROW(parse_manifest(text, "prepared/manifest.json"), DataError);
  EXPECT_THROW(parse_manifest("{}", "prepared/manifest.json"), DataError);
}

}  // namespace
}  // namespace lora_dist
