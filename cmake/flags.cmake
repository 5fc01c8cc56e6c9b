# Compiler and linker flags of every target, as one interface library.
add_library(mmq_flags INTERFACE)
target_compile_definitions(mmq_flags INTERFACE _GNU_SOURCE)
target_compile_options(mmq_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual
  -Wformat=2 -Wswitch-enum -Wvla -fno-common $<$<BOOL:${MMQ_WERROR}>:-Werror>)
# Nobody replaces our functions at run time: position-independent code may inline them.
target_compile_options(mmq_flags INTERFACE -fno-semantic-interposition)
# What makes a mistake in memory a crash and not a way in: tests/integration/test_hardening.py looks for each in the
# program. All of the program's addresses are random (PIE); what the loader has filled in is read-only; no stack may be
# run; jumps go only where a function begins, as far as the processor sees to it.
if(CMAKE_BUILD_TYPE MATCHES "Rel")
  # What is built tells nothing of the folder it was built in, and is the same from every folder.
  target_compile_options(mmq_flags INTERFACE -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)
  include(CheckCCompilerFlag)
  check_c_compiler_flag(-fcf-protection=full MMQ_HAS_CF_PROTECTION) # amd64
  check_c_compiler_flag(-mbranch-protection=standard MMQ_HAS_BRANCH_PROTECTION) # arm64
  target_compile_options(mmq_flags INTERFACE -fstack-protector-strong -fstack-clash-protection
    $<$<BOOL:${MMQ_HAS_CF_PROTECTION}>:-fcf-protection=full>
    $<$<BOOL:${MMQ_HAS_BRANCH_PROTECTION}>:-mbranch-protection=standard>)
  # Level 3 checks buffers whose size is known only at run time, too: from gcc 12 on.
  if(CMAKE_C_COMPILER_ID STREQUAL GNU AND CMAKE_C_COMPILER_VERSION VERSION_LESS 12)
    target_compile_options(mmq_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  else()
    target_compile_options(mmq_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
  endif()
  target_link_options(mmq_flags INTERFACE $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie>
    -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code)
endif()
if(MMQ_SANITIZE)
  target_compile_options(mmq_flags INTERFACE
    -fsanitize=${MMQ_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(mmq_flags INTERFACE -fsanitize=${MMQ_SANITIZE})
endif()
