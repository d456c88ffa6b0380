#include "core/base/sha256.hpp"

#include <openssl/evp.h>

#include "core/base/error.hpp"

namespace lora_dist {

struct Sha256::Context {
  EVP_MD_CTX* md = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(md); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  LD_CHECK(EVP_DigestInit_ex(context_->md, EVP_sha256(), nullptr) == 1,
           "libcrypto without SHA-256");
}

Sha256::~Sha256() = default;

void Sha256::update(const void* bytes, size_t size) {
  LD_CHECK(EVP_DigestUpdate(context_->md, bytes, size) == 1, "digest update");
}

std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  LD_CHECK(EVP_DigestFinal_ex(context_->md, digest, &size) == 1, "digest final");
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

std::string sha256_hex(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return hash.hex();
}

}  // namespace lora_dist
