#include "master/packed.h"

#include <utility>

namespace postern::master {
namespace {

constexpr std::size_t kNumber = 8;  // bytes

}  // namespace

void PackWriter::number(std::uint64_t value) {
  char* const room = bytes_.reserve(kNumber);
  for (std::size_t i = 0; i < kNumber; i++) room[i] = static_cast<char>(value >> 8 * i & 0xffU);
  bytes_.commit(kNumber);
}

void PackWriter::text(std::string_view bytes) {
  number(bytes.size());
  bytes_.append(bytes);
}

WipingBuffer PackWriter::take() noexcept {
  return std::exchange(bytes_, WipingBuffer());
}

std::string_view PackReader::take(std::uint64_t size) noexcept {
  good_ = good_ && size <= bytes_.size();
  if (!good_) return {};
  const std::string_view out = bytes_.substr(0, size);
  bytes_.remove_prefix(size);
  return out;
}

std::uint64_t PackReader::number() noexcept {
  const std::string_view bytes = take(kNumber);
  std::uint64_t out = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    out = out << 8U | static_cast<unsigned char>(bytes[i]);
  }
  return out;
}

std::size_t PackReader::count() noexcept {
  const std::uint64_t out = number();
  good_ = good_ && out <= bytes_.size();
  return good_ ? out : 0;
}

std::string_view PackReader::text() noexcept {
  return take(number());
}

}  // namespace postern::master
