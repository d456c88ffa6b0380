// The safetensors reader against the rows of the bad-input museum, and the writer against the
// reader.
#include "data/weights/safetensors.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "tests/support/error_text.hpp"
#include "tests/support/safetensors_bytes.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

/// The line for a file of these bytes, called m.st as in the museum.
std::string line_for(const std::string& bytes) {
  const TempFolder folder;
  const std::string path = folder.write("m.st", bytes);
  const std::string text = error_text<ModelError>([&] { SafetensorsFile::open(path); });
  return text.starts_with(path) ? "m.st" + text.substr(path.size()) : text;
}

std::string one_tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                       size_t begin, size_t end) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name, dtype,
                     shape, begin, end);
}

struct MuseumRow {
  int number;
  std::string name;
  std::string bytes;
  std::string line;
};

class SafetensorsMuseum : public testing::TestWithParam<MuseumRow> {};

TEST_P(SafetensorsMuseum, GetsExactlyItsLine) {
  EXPECT_EQ(line_for(GetParam().bytes), GetParam().line);
}

std::string cut_header() {
  // 871 bytes of a header whose last '}' is missing.
  std::string header = "{" + one_tensor("w", "F32", "[4]", 0, 16);
  const std::string tail = R"(,"__metadata__":{"k":")";
  header += tail + std::string(871 - header.size() - tail.size() - 2, 'x') + "\"}";
  return header;
}

const MuseumRow kRows[] = {
    {40, "ZeroBytes", "",
     "m.st: 0 bytes, expected a safetensors header of at least 8; download again"},
    {41, "HeaderLongerThanFile", little_endian_u64(5000) + "{" + std::string(1191, ' '),
     "m.st: header of 5000 bytes, file has 1200; download again"},
    {42, "HugeHeader", little_endian_u64(uint64_t{1} << 62) + "{}",
     "m.st: header of 4611686018427387904 bytes, limit 100000000; not a safetensors file"},
    {43, "HeaderStartsWithSpace", safetensors_bytes(" {}", 0),
     "m.st: header starts with 0x20, expected '{'"},
    {44, "HeaderCutInsideJson", safetensors_bytes(cut_header(), 16),
     "m.st: header byte 871: unexpected end, expected ',' or '}'"},
    {45, "TensorTwice",
     safetensors_bytes("{" + one_tensor("lm_head.weight", "F32", "[4]", 0, 16) + "," +
                           one_tensor("lm_head.weight", "F32", "[4]", 16, 32) + "}",
                       32),
     "m.st: tensor 'lm_head.weight' listed twice"},
    {46, "MetadataHoldsNumber", safetensors_bytes(R"({"__metadata__":{"format":1}})", 0),
     "m.st: __metadata__ 'format' is a number, expected a string"},
    {47, "UnknownDtype", safetensors_bytes("{" + one_tensor("w", "F17", "[4]", 0, 16) + "}", 16),
     "m.st: tensor 'w': dtype 'F17' is unknown"},
    {48, "Overlap",
     safetensors_bytes("{" + one_tensor("a", "F32", "[16]", 0, 64) + "," +
                           one_tensor("b", "F32", "[16]", 32, 96) + "}",
                       96),
     "m.st: tensor 'b' starts at 32, inside 'a' [0, 64)"},
    {49, "Hole",
     safetensors_bytes("{" + one_tensor("a", "F32", "[16]", 0, 64) + "," +
                           one_tensor("b", "F32", "[16]", 128, 192) + "}",
                       192),
     "m.st: bytes 64 to 127 belong to no tensor"},
    {50, "TrailingBytes",
     safetensors_bytes("{" + one_tensor("w", "F32", "[4]", 0, 16) + "}", 16 + 512),
     "m.st: 512 bytes after the last tensor"},
    // The header is filled up so that the data starts at byte 128: the tensor ends at 8192 of the
    // file.
    {51, "TruncatedData",
     [] {
       std::string header = "{" + one_tensor("w", "F32", "[2016]", 0, 8064) + "}";
       header.resize(120, ' ');
       return safetensors_bytes(header, 4096 - 128);
     }(),
     "m.st: tensor 'w' ends at 8192, file has 4096; download again"},
    {52, "ShapeOverflows",
     safetensors_bytes("{" + one_tensor("w", "F32", "[4294967296, 4294967296]", 0, 16) + "}", 16),
     "m.st: tensor 'w': shape [4294967296, 4294967296] overflows"},
    {53, "SizeIsNotShapeTimesDtype",
     safetensors_bytes("{" + one_tensor("w", "F32", "[4, 4]", 0, 60) + "}", 60),
     "m.st: tensor 'w': 60 bytes for [4, 4] F32, expected 64"},
    {55, "Pickle", std::string("PK\x03\x04\x00\x00\x08\x08", 8) + std::string(200, '\0'),
     "m.st: a PyTorch pickle (zip); pickles are never read, convert with safetensors' convert "
     "script"},
    {57, "LfsPointer",
     "version https://git-lfs.github.com/spec/v1\noid "
     "sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 988097824\n",
     "m.st: Git LFS pointer (134 bytes), not the file; run `git lfs pull`"},
    {58, "WebPage", "\n<!DOCTYPE html><html><head><title>Sign in</title>",
     "m.st: an HTML page, not weights; download again, perhaps a login is needed"},
};

INSTANTIATE_TEST_SUITE_P(Museum, SafetensorsMuseum, testing::ValuesIn(kRows), [](const auto& info) {
  return fmt::format("Row{}{}", info.param.number, info.param.name);
});

TEST(SafetensorsReader, RefusesOtherWaysToBeWrong) {
  EXPECT_EQ(line_for(safetensors_bytes("", 0)), "m.st: header of 0 bytes, expected a JSON object");
  EXPECT_EQ(line_for(safetensors_bytes("{}\n", 0)),
            "m.st: header ends with 0x0a, expected '}' and spaces");
  EXPECT_EQ(line_for(safetensors_bytes(R"({"w":{"dtype":"F32","shape":[1]}})", 4)),
            "m.st: tensor 'w': 'data_offsets' is missing");
  EXPECT_EQ(line_for(safetensors_bytes(R"({"w":[]})", 0)),
            "m.st: tensor 'w': is a list, expected an object");
  EXPECT_EQ(line_for(safetensors_bytes("{" + one_tensor("w", "F32", "[-1]", 0, 4) + "}", 4)),
            "m.st: tensor 'w': shape holds -1, expected whole numbers from 0");
  EXPECT_EQ(
      line_for(safetensors_bytes(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4)),
      "m.st: tensor 'w': starts at 4 and ends at 0");
  // A zero does not excuse dimensions that overflow.
  EXPECT_EQ(line_for(safetensors_bytes(
                         "{" + one_tensor("w", "F32", "[0, 18446744073709551615]", 0, 0) + "}", 0))
                .substr(0, 22),
            "m.st: tensor 'w': shap");
}

TEST(SafetensorsReader, EveryTruncationOfAGoodFileIsRefused) {
  const TempFolder folder;
  const std::string path = folder.file("whole");
  write_safetensors(path, {{"a", at::arange(6, at::kFloat)}, {"b", at::ones({2, 2}, at::kHalf)}},
                    {{"format", "pt"}});
  const std::string whole = read_file(path);
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_THROW(SafetensorsFile::open(folder.write("cut", whole.substr(0, size))), ModelError)
        << size;
}

TEST(SafetensorsReader, ScalarsAndEmptyTensorsAreLegal) {
  const TempFolder folder;
  const std::string path = folder.file("m.st");
  write_safetensors(path, {{"empty", at::empty({0, 4})}, {"scalar", at::scalar_tensor(2.5)}}, {});
  const auto file = SafetensorsFile::open(path);
  EXPECT_EQ(file->tensor("empty").sizes(), (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(file->tensor("scalar").dim(), 0);
  EXPECT_EQ(file->tensor("scalar").item<float>(), 2.5f);
}

TEST(SafetensorsReader, ATensorKeepsTheMapAliveAndIsNotCopied) {
  const TempFolder folder;
  const std::string path = folder.file("m.st");
  write_safetensors(path, {{"w", at::arange(1000, at::kFloat)}}, {});
  auto file = SafetensorsFile::open(path);
  const at::Tensor first = file->tensor("w"), second = file->tensor(0);
  EXPECT_EQ(first.const_data_ptr(), second.const_data_ptr());
  file.reset();
  EXPECT_TRUE(at::equal(first, at::arange(1000, at::kFloat)));
}

TEST(SafetensorsReader, DataThatIsNotAlignedToItsElementsIsReadAllTheSame) {
  const TempFolder folder;
  std::string header = "{" + one_tensor("w", "F32", "[1]", 0, 4) + "}";
  while (header.size() % 4 != 1) header += ' ';
  std::string bytes = safetensors_bytes(header, 0) + std::string("\x00\x00\x80\x3f", 4);  // 1.0f
  EXPECT_EQ(SafetensorsFile::open(folder.write("m.st", bytes))->tensor("w").item<float>(), 1.0f);
}

TEST(SafetensorsReader, AMissingTensorAndAMissingFileAreNamed) {
  const TempFolder folder;
  const std::string path = folder.file("m.st");
  write_safetensors(path, {{"w", at::ones({1})}}, {});
  EXPECT_EQ(error_text<ModelError>([&] { SafetensorsFile::open(path)->tensor("v"); }),
            path + ": tensor 'v' is missing");
  EXPECT_EQ(error_text<StorageError>([&] { SafetensorsFile::open(folder.file("no")); }),
            folder.file("no") + ": no such file");
}

TEST(SafetensorsWriter, WritesTheBytesOfTheReferenceWriter) {
  // safetensors 0.8.0: save({"b": f32 [1.0], "a": f16 [1.0, 2.0]}, metadata={"format": "pt"})
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
      R"("a":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}})";
  std::string padded = header;
  padded.append((8 - padded.size() % 8) % 8, ' ');
  const std::string data("\x00\x00\x80\x3f\x00\x3c\x00\x40", 8);
  const TempFolder folder;
  const std::string path = folder.file("m.st");
  write_safetensors(path, {{"a", at::tensor({1.0, 2.0}).to(at::kHalf)}, {"b", at::ones({1})}},
                    {{"format", "pt"}});
  EXPECT_EQ(read_file(path), little_endian_u64(padded.size()) + padded + data);
}

TEST(SafetensorsWriter, EveryTypeComesBackBitForBit) {
  const TempFolder folder;
  const std::string path = folder.file("m.st");
  const at::Tensor values = at::arange(-3, 3, at::kFloat).reshape({2, 3});
  NamedTensors tensors;
  for (const at::ScalarType dtype :
       {at::kBool, at::kByte, at::kChar, at::kShort, at::kInt, at::kLong, at::kHalf, at::kBFloat16,
        at::kFloat, at::kDouble, at::kFloat8_e4m3fn, at::kFloat8_e5m2, at::kUInt16})
    tensors.emplace_back(c10::toString(dtype), values.abs().to(dtype));
  write_safetensors(path, tensors, {});
  const auto file = SafetensorsFile::open(path);
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor read = file->tensor(name);
    ASSERT_EQ(read.scalar_type(), tensor.scalar_type());
    ASSERT_EQ(read.sizes(), tensor.sizes());
    EXPECT_EQ(std::memcmp(read.const_data_ptr(), tensor.const_data_ptr(), tensor.nbytes()), 0)
        << name;
  }
}

TEST(SafetensorsWriter, NamesAreEscaped) {
  const TempFolder folder;
  const std::string path = folder.file("m.st"), name = "quote\" \\ 名前\n";
  write_safetensors(path, {{name, at::ones({1})}}, {{"k\"", "v\\"}});
  const auto file = SafetensorsFile::open(path);
  EXPECT_TRUE(file->contains(name));
  EXPECT_EQ(file->metadata().at("k\""), "v\\");
}

// Museum 54.
TEST(RequireFinite, NamesTheFirstValueThatIsNot) {
  at::Tensor weight = at::ones({32});
  weight[17] = std::nan("");
  EXPECT_EQ(error_text<ModelError>([&] { require_finite("m.st", "model.norm.weight", weight); }),
            "m.st: tensor 'model.norm.weight' holds NaN at [17]; download again");
  at::Tensor matrix = at::ones({2, 3}, at::kBFloat16);
  matrix[1][2] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(error_text<ModelError>([&] { require_finite("m.st", "w", matrix); }),
            "m.st: tensor 'w' holds infinity at [1, 2]; download again");
}

}  // namespace
}  // namespace lora_dist
