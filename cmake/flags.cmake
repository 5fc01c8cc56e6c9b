# Compiler and linker flags of every target, as one interface library.
add_library(mmq_flags INTERFACE)
target_compile_definitions(mmq_flags INTERFACE _GNU_SOURCE)
target_compile_options(mmq_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual
  -Wformat=2 -Wswitch-enum -Wvla -fno-common $<$<BOOL:${MMQ_WERROR}>:-Werror>)
# Nobody replaces our functions at run time: position-independent code may inline them.
target_compile_options(mmq_flags INTERFACE -fno-semantic-interposition)
if(CMAKE_BUILD_TYPE MATCHES "Rel")
  target_compile_options(mmq_flags INTERFACE -fstack-protector-strong -fstack-clash-protection)
  target_compile_definitions(mmq_flags INTERFACE _FORTIFY_SOURCE=2)
  target_link_options(mmq_flags INTERFACE -pie -Wl,-z,relro,-z,now)
endif()
if(MMQ_SANITIZE)
  target_compile_options(mmq_flags INTERFACE
    -fsanitize=${MMQ_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(mmq_flags INTERFACE -fsanitize=${MMQ_SANITIZE})
endif()
