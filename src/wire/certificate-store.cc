#include "wire/certificate-store.h"

#include <algorithm>
#include <cerrno>
#include <limits>

#include "lib/check.h"

namespace postern::wire {
namespace {

constexpr std::string_view kMagic = "postern certificates 1\n";
constexpr std::size_t kNumber = 4;  // bytes
constexpr std::size_t kNameRow = 3 * kNumber;
constexpr std::size_t kPairRow = 4 * kNumber;
constexpr std::size_t kNames = kMagic.size() + kNumber;  // where the first row is

void put(WipingBuffer& out, std::size_t number) {
  POSTERN_CHECK(number <= std::numeric_limits<std::uint32_t>::max());
  for (unsigned shift = 0; shift < 32; shift += 8) {
    out += static_cast<char>(number >> shift & 0xffU);
  }
}

/// The number at `at`, which is inside.
std::size_t number_at(std::string_view bytes, std::size_t at) noexcept {
  std::size_t out = 0;
  for (std::size_t i = kNumber; i-- > 0;) {
    out = out << 8U | static_cast<unsigned char>(bytes[at + i]);
  }
  return out;
}

bool inside(std::string_view bytes, std::size_t at, std::size_t size) noexcept {
  return at <= bytes.size() && size <= bytes.size() - at;
}

Error damaged() {
  return Error{EINVAL, "the certificates from the master are damaged"};
}

}  // namespace

void CertificateStoreWriter::add(const std::vector<std::string>& names, std::string_view chain,
                                 std::string_view key) {
  // What is too much is not gathered; finish() tells.
  if (size() > CertificateStore::kMaxBytes) return;
  const auto number = static_cast<std::uint32_t>(pairs_.size());
  Pair pair;
  pair.chain_at = static_cast<std::uint32_t>(texts_.size());
  pair.chain_size = static_cast<std::uint32_t>(chain.size());
  texts_ += chain;
  pair.key_at = static_cast<std::uint32_t>(texts_.size());
  pair.key_size = static_cast<std::uint32_t>(key.size());
  texts_ += key;
  pairs_.push_back(pair);
  for (const std::string& name : names) {
    names_.push_back({name, number});
    name_bytes_ += name.size();
  }
}

std::size_t CertificateStoreWriter::size() const noexcept {
  return kNames + names_.size() * kNameRow + kNumber + pairs_.size() * kPairRow + texts_.size() +
         name_bytes_;
}

Result<WipingBuffer> CertificateStoreWriter::finish() {
  if (size() > CertificateStore::kMaxBytes) {
    return Error{EFBIG, "the certificates are more than can be handed to login processes"};
  }
  std::stable_sort(names_.begin(), names_.end(),
                   [](const Name& a, const Name& b) { return a.text < b.text; });
  WipingBuffer name_texts;
  WipingBuffer out(kMagic);
  const std::size_t texts_at =
      kNames + names_.size() * kNameRow + kNumber + pairs_.size() * kPairRow;
  put(out, names_.size());
  for (const Name& name : names_) {
    put(out, texts_at + texts_.size() + name_texts.size());
    put(out, name.text.size());
    put(out, name.pair);
    name_texts += name.text;
  }
  put(out, pairs_.size());
  for (const Pair& pair : pairs_) {
    put(out, texts_at + pair.chain_at);
    put(out, pair.chain_size);
    put(out, texts_at + pair.key_at);
    put(out, pair.key_size);
  }
  out += texts_.view();
  out += name_texts.view();
  return out;
}

std::string_view CertificateStore::name_at(std::size_t index) const noexcept {
  const std::size_t row = kNames + index * kNameRow;
  return bytes_.substr(number_at(bytes_, row), number_at(bytes_, row + kNumber));
}

StoredCertificate CertificateStore::pair_at(std::size_t index) const noexcept {
  const std::size_t row = kNames + names_ * kNameRow + kNumber + index * kPairRow;
  return {
      bytes_.substr(number_at(bytes_, row), number_at(bytes_, row + kNumber)),
      bytes_.substr(number_at(bytes_, row + 2 * kNumber), number_at(bytes_, row + 3 * kNumber))};
}

Result<CertificateStore> CertificateStore::parse(std::string_view bytes) {
  if (bytes.size() > kMaxBytes || !bytes.starts_with(kMagic) || bytes.size() < kNames) {
    return damaged();
  }
  CertificateStore out;
  out.bytes_ = bytes;
  out.names_ = number_at(bytes, kMagic.size());
  if (!inside(bytes, kNames, out.names_ * kNameRow + kNumber)) return damaged();
  const std::size_t pairs_at = kNames + out.names_ * kNameRow;
  out.pairs_ = number_at(bytes, pairs_at);
  if (!inside(bytes, pairs_at + kNumber, out.pairs_ * kPairRow)) return damaged();
  for (std::size_t i = 0; i < out.names_; i++) {
    const std::size_t row = kNames + i * kNameRow;
    if (!inside(bytes, number_at(bytes, row), number_at(bytes, row + kNumber)) ||
        number_at(bytes, row + 2 * kNumber) >= out.pairs_ ||
        (i > 0 && out.name_at(i) < out.name_at(i - 1))) {
      return damaged();
    }
  }
  for (std::size_t i = 0; i < out.pairs_; i++) {
    const std::size_t row = pairs_at + kNumber + i * kPairRow;
    if (!inside(bytes, number_at(bytes, row), number_at(bytes, row + kNumber)) ||
        !inside(bytes, number_at(bytes, row + 2 * kNumber), number_at(bytes, row + 3 * kNumber))) {
      return damaged();
    }
  }
  return out;
}

std::vector<StoredCertificate> CertificateStore::exactly(std::string_view name) const {
  std::size_t low = 0;
  std::size_t high = names_;
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    if (name_at(middle) < name) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  std::vector<StoredCertificate> out;
  for (; low < names_ && name_at(low) == name && out.size() < kMaxPairs; low++) {
    out.push_back(pair_at(number_at(bytes_, kNames + low * kNameRow + 2 * kNumber)));
  }
  return out;
}

std::vector<StoredCertificate> CertificateStore::find(std::string_view name) const {
  auto out = exactly(name);
  const std::size_t dot = name.find('.');
  if (!out.empty() || dot == std::string_view::npos || dot == 0) return out;
  return exactly("*" + std::string(name.substr(dot)));
}

}  // namespace postern::wire
