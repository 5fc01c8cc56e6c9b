# libmetricmq.so, what other programs link: the public functions of the room `lib`, with all that they need of it.
#
# lib/libmetricmq.map is the list of what it exports. Of the room's archive the linker takes only the members that those
# names lead to (--undefined), so that the library wants no other library for what the room does for our program alone.
#
# Builds under sanitizers have none: nobody links those.
set(MMQ_ABI 1) # the number of its SONAME: goes up when programs that were linked before would not run

set(map ${PROJECT_SOURCE_DIR}/lib/libmetricmq.map)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${map})
file(STRINGS ${map} exported REGEX "^ +mmq_[a-z0-9_]+;")
list(TRANSFORM exported REPLACE "^ +(mmq_[a-z0-9_]+);.*" "\\1")
list(JOIN exported ",--undefined=" wanted)

if(MMQ_SANITIZE)
  return()
endif()
add_library(libmetricmq SHARED lib/version.c)
set_target_properties(libmetricmq PROPERTIES OUTPUT_NAME metricmq EXPORT_NAME metricmq
  VERSION ${MMQ_ABI}.${PROJECT_VERSION} SOVERSION ${MMQ_ABI} LINK_DEPENDS ${map})
target_include_directories(libmetricmq INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(libmetricmq PRIVATE mmq_lib mmq_flags)
target_link_options(libmetricmq PRIVATE
  LINKER:--undefined=${wanted} LINKER:--version-script=${map} LINKER:--as-needed LINKER:-z,defs)
